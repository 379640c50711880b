-- Made-up people and places: common names, combined by a keyed hash.
local function list(text)
  local out = {}
  for word in text:gmatch "%S+" do out[#out + 1] = word end
  return out
end

local M = {}

M.family = list [[
Abbot Adler Aldridge Ames Archer Ashford Atwood Bailey Baker Barlow Barton Beck Bennett Berg Birch
Blackwell Bolton Bower Brandt Briggs Brook Burke Calder Carter Castell Chandler Clayton Colby
Cooper Corbin Crane Dalton Darby Dawson Denton Dixon Drake Dunbar Eaton Egan Ellery Emerson
Fairfax Farrow Fenton Fisher Fleming Forrest Foster Fuller Garner Garrick Gibbs Gilmore Glover
Graves Haddon Hale Harding Harlow Hayward Heller Holden Holt Hunter Ingram Irving Jarvis Kendall
Keller Kirby Lambert Lander Langley Larkin Lawton Leland Linden Lowell Marlow Mason Mercer Merrick
Miller Morley Nash Newell Norris Norwood Oakley Osborn Paxton Pemberton Perry Porter Prescott
Quincy Radley Ramsey Reed Ridley Rowland Sadler Sawyer Selby Shelton Sinclair Sloan Stanton
Sterling Sutton Tanner Thorne Tilden Turner Underhill Vance Vaughn Wade Walden Walker Warden
Weaver Webster Weston Whitaker Wilder Winslow Wolcott Woodley Yardley Yates York Zeller ]]

M.female = list [[
Ada Agnes Alice Alma Amelia Anna Beatrice Bella Bertha Carla Cecilia Clara Cora Daisy Daphne Diana
Dora Edith Elena Eleanor Elsa Emma Esther Eva Fiona Flora Frances Freda Gloria Greta Hanna Hazel
Helen Ida Ingrid Irene Iris Isabel Ivy Jane Judith Julia Karen Laura Lena Lillian Lois Lucy Lydia
Mabel Margaret Maria Marion Martha Maud Mina Nadia Nell Nina Nora Olga Olive Pauline Phoebe Rita
Rosa Ruth Selma Sonia Stella Susan Thea Ursula Vera Violet Wanda Wilma ]]

M.male = list [[
Adam Albert Alfred Andrew Arnold Arthur Barney Benjamin Bernard Bruno Carl Caspar Cecil Clement
Conrad Daniel Dennis Edgar Edmund Edwin Emil Ernest Eugene Felix Francis Frank Frederick George
Gilbert Godfrey Gregory Harold Harry Henry Herbert Hugo Ivan Jacob James Jasper Julian Karl Kurt
Laurence Leo Leonard Louis Lucas Magnus Martin Max Miles Morris Nathan Neil Norman Oliver Oscar
Otto Paul Percy Peter Philip Ralph Raymond Robert Roland Rudolf Samuel Simon Stephen Theodore
Thomas Victor Walter Warren Wilfred ]]

M.any = {}
for _, from in ipairs { M.female, M.male } do
  for _, name in ipairs(from) do M.any[#M.any + 1] = name end
end

M.street = list [[
Acorn Alder Aspen Beech Birch Brook Cedar Chestnut Cherry Clover Elm Fern Forest Garden Hazel
Heather Hickory Hill Holly Juniper Lake Laurel Linden Maple Meadow Mill Oak Orchard Park Pine
Poplar River Rose Spring Spruce Sycamore Valley Walnut Willow Woodland ]]

M.city = list [[
Ashbrook Brightwater Cedarton Clearfield Eastmoor Fairhaven Foxhollow Glenwood Greenvale
Harborview Hillcrest Kingsford Lakemont Lindenburg Maplewood Millbrook Northgate Oakhurst
Pinecrest Ridgemont Riverbend Rockport Silverlake Springdale Stonebridge Summerfield Thornbury
Westbrook Whitfield Woodmere ]]

-- What may stand beside a name and says nothing about who it is.
M.titles = {}
for _, word in ipairs(list [[
JR SR I II III IV V MR MRS MS MISS DR PROF SIR MD DO DDS DMD PHD RN NP PA LPN CNM CRNA APRN BSN
MSN DNP PHARMD RPH PT OT MBBS MB BS FRCS FACS FACP MRCP MPH MBA ESQ REV DVM OD DPM DPT LCSW MSW BA
MA MED HERR FRAU M MME MLLE SRA DRA ]]) do M.titles[word] = true end

return M
