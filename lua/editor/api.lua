-- Lunate's globals and classes as LuaCATS text, for lua-language-server (`lunate new editor`).
-- Names and types; what calls do is put in by lunate.editor.definitions, out of the REPL's texts.
-- tests/role/editor_spec.lua holds it against what there is, both ways.
return [==[
---@meta _
-- Written by `lunate new editor` (lunate @VERSION@). Do not edit: it is written anew.

---A part of a message: a field, component or subcomponent. Reading at an upper level gives the
---first leaf below it.
---@class lunate.Part
---@field value string? its first leaf, unescaped; nil when absent or empty; may be set
---@field [integer] lunate.Part|any the component or subcomponent of that number
---@operator len: integer
---@operator concat(any): string
local Part = {}
---@param n integer
---@return lunate.Part
function Part:rep(n) end
---@return fun(): lunate.Part
function Part:each() end
---The bytes as they stand.
---@return string?
function Part:raw() end
---@param bytes string
function Part:set_raw(bytes) end
---@return string
function Part:upper() end
---@return string
function Part:lower() end
---@param from integer
---@param to? integer
---@return string
function Part:sub(from, to) end
---@param pattern string
---@param at? integer
---@param plain? boolean
---@return integer?, integer?, ...
function Part:find(pattern, at, plain) end
---@param pattern string
---@param at? integer
---@return string?, ...
function Part:match(pattern, at) end
---@param pattern string
---@param with string|table|function
---@param n? integer
---@return string, integer
function Part:gsub(pattern, with, n) end
---@param from? integer
---@param to? integer
---@return integer ...
function Part:byte(from, to) end
---@param pattern string
---@return fun(): string, ...
function Part:gmatch(pattern) end
---@return string
function Part:reverse() end

---@class lunate.Segment
---@field segment_name string
---@field [integer] lunate.Part|any the field of that number
---@field [string] any a path within the segment: seg["5.1"]
---@operator len: integer
local Segment = {}
---@param name string
---@return fun(): lunate.Segment
function Segment:each(name) end
---@return string
function Segment:raw() end

---@class lunate.MessageBase
---@field type string? MSH-9.1
---@field event string? MSH-9.2
---@field version string? MSH-12
---@field control_id string? MSH-10
---@field [string] string|any a path: msg["PID-5.1"], msg["OBX[2]-5"]
---@operator len: integer
local Message = {}
---@param path string
---@return string?
function Message:raw(path) end
---@param path string
---@param bytes string
function Message:set_raw(path, bytes) end
---@param path string
---@return string[]
function Message:all(path) end
---@param name? string
---@return fun(): lunate.Segment
function Message:each(name) end
---@param name string|lunate.Segment
---@param after? lunate.Segment
---@return lunate.Segment
function Message:add(name, after) end
---@param segment lunate.Segment|table a segment, or a group
function Message:remove(segment) end
---@param segment lunate.Segment
---@param after lunate.Segment
function Message:move(segment, after) end
---@return lunate.Message
function Message:copy() end
---@return table<"field"|"component"|"repetition"|"escape"|"subcomponent"|"truncation", string>
function Message:delimiters() end
---@param o { code: string, text: string?, [string]: any }
---@return lunate.Message
function Message:ack(o) end
---@return any
function Message:charset() end
---@param name string
---@param o? { substitute: string }
function Message:convert(name, o) end
---@return any
function Message:groups(...) end
---@return table
function Message:tree(...) end
---@return table
function Message:validate(...) end

---@class lunate.hl7
---@field null string the explicit null, two quote characters
---@field dictionary table segments, fields, types, tables, structures, events
---@field time table timestamps with their precision and zone
---@field batch table files of messages with FHS, BHS, BTS, FTS
---@field text table formatted text (FT) and its escapes
---@field profile fun(o: table): table what a site expects of its messages, for validate
hl7 = {}
---@param bytes string
---@param o? { charset: any }
---@return lunate.Message?, string? error
function hl7.parse(bytes, o) end
---@class (exact) lunate.NewOptions
---@field type string
---@field event? string
---@field version? string ("2.5.1")
---@field structure? string MSH-9.3
---@field control_id? string
---@field processing? string ("P")
---@field time? string
---@field delimiters? string

---@param o lunate.NewOptions
---@return lunate.Message
function hl7.new(o) end
---@param text string
---@param msg? lunate.Message
---@return string
function hl7.escape(text, msg) end
---@param raw string
---@param msg? lunate.Message
---@return string
function hl7.unescape(raw, msg) end
---@param a lunate.Message|string
---@param b lunate.Message|string
---@param o? { ignore: string|string[], ignore_empty: boolean }
---@return { kind: string, path: string, from: string?, to: string? }[]
function hl7.diff(a, b, o) end
---@param msg lunate.Message
---@return string
function hl7.to_json(msg, ...) end
---@param text string|table
---@return lunate.Message?, string? error
function hl7.from_json(text, ...) end

---@class lunate.Source
---@class lunate.Destination

---@alias lunate.Filter fun(msg: lunate.Message): boolean?, string?
---@alias lunate.Out lunate.Message|string
---@alias lunate.Transform fun(msg: lunate.Message): lunate.Out|lunate.Out[]|nil

---@class (exact) lunate.ChannelOptions
---@field source lunate.Source where messages come from
---@field ack? "commit"|"transform"|"delivery"|"none" when the sender is answered ("commit")
---@field on_error? "park"|"stop" when the script fails ("park")
---@field jit? boolean compile the script (false)
---@field limits? { seconds: number?, memory_mb: number?, attempts: integer? }
---@field retention? { days: number?, mb: number? } 0: no limit
---@field allow? { read: string[]?, net: string[]?, ca: string? } what it may reach beside the site
---@field archive? string|false a folder: what is trimmed is written there first
---@field filter? lunate.Filter truthy: go on; the second value is the reason
---@field transform? lunate.Transform edit in place, or return messages
---@field destinations? table<string, lunate.Destination>

---@class lunate.channel
---@overload fun(options: lunate.ChannelOptions): lunate.ChannelOptions
channel = {}
---Messages that another channel hands over.
---@param names string|string[]
---@return lunate.Source
function channel.from(names) end
---Hands messages to another channel.
---@param name string
---@param o? { filter: lunate.Filter?, transform: lunate.Transform?, charset: any }
---@return lunate.Destination
function channel.to(name, o) end

---@class lunate.ListenOptions
---@field port integer|string
---@field host? string an address of this machine ("127.0.0.1"; "0.0.0.0": every network)
---@field idle_timeout? number seconds; 0: none
---@field max_message? integer bytes (52428800)
---@field max_connections? integer (1000)
---@field allow? string|string[] addresses or nets: "192.0.2.0/24"
---@field ack_mode? "original"|"enhanced" whether MSH-15 and MSH-16 say which answers are sent
---@field tls? table
---@field charset? any

---@class (exact) lunate.RetryOptions
---@field first? number seconds (1)
---@field factor? number (2)
---@field max? number seconds (60)
---@field attempts? integer for ever unless it is set
---@field on? lunate.RetryClasses by what went wrong

---@class (exact) lunate.RetryClass
---@field first? number seconds
---@field factor? number
---@field max? number seconds
---@field attempts? integer not for connect and tls

---@class (exact) lunate.RetryClasses
---@field connect? lunate.RetryClass|"retry"|"stop" nobody there, no such name
---@field tls? lunate.RetryClass|"retry"|"stop" no handshake
---@field timeout? lunate.RetryClass|"retry"|"park"|"stop" no reply in time
---@field closed? lunate.RetryClass|"retry"|"park"|"stop" closed before the reply
---@field AE? lunate.RetryClass
---@field AR? lunate.RetryClass
---@field CE? lunate.RetryClass
---@field CR? lunate.RetryClass

---@class lunate.SendOptions
---@field host string
---@field port integer|string
---@field timeout? number seconds to wait for the reply (10)
---@field ack_mode? "original"|"enhanced" whether the receiver answers as MSH-15 and MSH-16 say
---@field retry? lunate.RetryOptions
---@field on_reply? table<"AE"|"AR"|"CE"|"CR", "park"|"retry"|"stop">
---@field stop_after_parks? integer
---@field filter? lunate.Filter on a copy of its own
---@field transform? lunate.Transform
---@field tls? table
---@field charset? any

mllp = {}
---@param options lunate.ListenOptions
---@return lunate.Source
function mllp.listen(options) end
---@param options lunate.SendOptions
---@return lunate.Destination
function mllp.send(options) end

log = {}
---@param format any
function log.debug(format, ...) end
---@param format any
function log.info(format, ...) end
---@param format any
function log.warn(format, ...) end
---@param format any
function log.error(format, ...) end

---Durable state of the channel, committed with the message that wrote it.
---@class lunate.kv
---@field [string] any
kv = {}
---@param key string
---@return any
function kv.get(key) end
---@param key string
---@param value any
function kv.set(key, value) end
---@param key string
function kv.delete(key) end
---@param prefix? string
---@return string[]
function kv.keys(prefix) end

---Tables of the site: tables/NAME.csv.
---@class lunate.HttpRequest
---@field url string
---@field method? string
---@field headers? table<string, string>
---@field body? string
---@field timeout? number
---@field max_body? integer

---@class lunate.HttpAnswer
---@field status integer
---@field headers table<string, string>
---@field body string

---@class lunate.http
http = {}
---@param url string
---@param o? { headers: table<string, string>?, timeout: number?, max_body: integer? }
---@return lunate.HttpAnswer?, string?
function http.get(url, o) end
---@param url string
---@param body string?
---@param o? { headers: table<string, string>?, timeout: number?, max_body: integer? }
---@return lunate.HttpAnswer?, string?
function http.post(url, body, o) end
---@param o lunate.HttpRequest
---@return lunate.HttpAnswer?, string?
function http.request(o) end

---@class lunate.lookup
---@overload fun(table: string, key: string|number?, default: any?): any
lookup = {}
---@param table string
---@param key string|number?
---@return table<string|integer, string>?
function lookup.row(table, key) end

---@class lunate.json
---@field null any JSON's null
json = {}
---@param value any
---@param o? { indent: integer }
---@return string
function json.encode(value, o) end
---@param text string
---@param o? { exact: boolean }
---@return any, string? error
function json.decode(text, o) end
---Makes an empty table an array.
---@param t table
---@return table
function json.array(t) end
---A number by its text, for what a double cannot hold.
---@param text string
---@return any
function json.number(text) end

---@param format? string
---@return string
function now(format) end
---@param name string
---@param default? any
---@return any
function env(name, default) end
---@param name string
---@return string
function secret(name) end

-- ---- specs (`lunate test`) ----

---@class lunate.Result
---@field state "done"|"filtered"|"error"|"limit"
---@field reason string
---@field where string
---@field trace string
---@field outputs { dest: string, kind: string, raw: string?, changed: boolean?, reason: string? }[]
---@field log { level: string, where: string, text: string }[]
local Result = {}
---@param dest string
---@return lunate.Message
function Result:to(dest) end
---@param dest string
---@param code "AA"|"AE"|"AR"|"CA"|"CE"|"CR"
---@return "sent"|"parked"|"retried"|"stopped"
function Result:reply(dest, code) end

---@class lunate.Channel
local Channel = {}
---@param message string|lunate.Message
---@return lunate.Result
function Channel:run(message) end
---@param time string?
---@return lunate.Channel
function Channel:at(time) end
---@return lunate.Channel
function Channel:restart() end

lunate = {}
---@param name string
---@param o? { clock: string?, kv: table?, http: (fun(request: table): table?, string?)? }
---@return lunate.Channel
function lunate.channel(name, o) end
---@param name string
---@return string
function lunate.sample(name) end
---@param name string
---@return string[]
function lunate.samples(name) end
---@param name string
---@param output string|lunate.Message|lunate.Result
function lunate.golden(name, output) end

---@param o? { type: string?, event: string?, version: string?, with: string[]? }
---@return function
function messages(o) end
---@param generator function
---@param property fun(msg: lunate.Message)
---@param o? { runs: integer?, seed: integer? }
function for_all(generator, property, o) end
---@param name string
---@param block function
function describe(name, block) end
---@param name string
---@param block function
function it(name, block) end
---@param block function
function before_each(block) end
---@param block function
function after_each(block) end
]==]
