-- System calls for the tests, through FFI: what proc, net and tmp are built from. Linux only.
local ffi = require "ffi"
local bit = require "bit"
local C = ffi.C

-- Once for the whole run: busted loads modules anew for each file, declarations stay.
if not pcall(ffi.typeof, "struct sys_pollfd") then
  ffi.cdef [[
    struct sys_pollfd { int fd; short events, revents; };
    struct sys_timespec { long sec, nsec; };
    struct sys_in { uint16_t family, port; uint8_t addr[4]; uint8_t zero[8]; };
    struct sys_in6 { uint16_t family, port; uint32_t flow; uint8_t addr[16]; uint32_t scope; };
    struct sys_linger { int on, seconds; };
    extern char **environ;
    char *strerror(int);
    int poll(struct sys_pollfd *, unsigned long, int);
    int nanosleep(const struct sys_timespec *, struct sys_timespec *);
    int clock_gettime(int, struct sys_timespec *);
    int pipe2(int *, int);
    long read(int, void *, size_t);
    long write(int, const void *, size_t);
    int close(int);
    int fcntl(int, int, ...);
    int kill(int, int);
    int getpid(void);
    int waitpid(int, int *, int);
    void *signal(int, void *);
    int posix_spawnp(int *, const char *, const void *, const void *, char *const *, char *const *);
    int posix_spawn_file_actions_init(void *);
    int posix_spawn_file_actions_destroy(void *);
    int posix_spawn_file_actions_adddup2(void *, int, int);
    int posix_spawn_file_actions_addopen(void *, int, const char *, int, unsigned);
    int posix_spawn_file_actions_addchdir_np(void *, const char *);
    int posix_spawnattr_init(void *);
    int posix_spawnattr_destroy(void *);
    int posix_spawnattr_setflags(void *, short);
    int posix_spawnattr_setsigdefault(void *, const void *);
    int posix_spawnattr_setsigmask(void *, const void *);
    int sigfillset(void *);
    int sigemptyset(void *);
    int socket(int, int, int);
    int bind(int, const void *, unsigned);
    int listen(int, int);
    int accept4(int, void *, unsigned *, int);
    int connect(int, const void *, unsigned);
    int getsockname(int, void *, unsigned *);
    int getsockopt(int, int, int, void *, unsigned *);
    int setsockopt(int, int, int, const void *, unsigned);
    int shutdown(int, int);
    long send(int, const void *, size_t, int);
    long recv(int, void *, size_t, int);
    int inet_pton(int, const char *, void *);
    char *mkdtemp(char *);
  ]]
end

local M = {
  C = C,
  EINTR = 4, EAGAIN = 11, EPIPE = 32, ECONNRESET = 104, EINPROGRESS = 115, ECONNREFUSED = 111,
  POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16,
  O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 64, O_APPEND = 1024, O_NONBLOCK = 2048, O_CLOEXEC = 0x80000,
}

-- A write to a closed pipe or socket is an error to be returned, not the end of the test run.
C.signal(13, ffi.cast("void *", 1))

--- Text of the last system error.
function M.errtext(e)
  return ffi.string(C.strerror(e or ffi.errno()))
end

local ts = ffi.new "struct sys_timespec"

--- Seconds on the monotonic clock.
function M.now()
  C.clock_gettime(1, ts)
  return tonumber(ts.sec) + tonumber(ts.nsec) / 1e9
end

--- Sleeps that many seconds.
function M.sleep(seconds)
  local t = ffi.new "struct sys_timespec"
  t.sec = math.floor(seconds)
  t.nsec = (seconds % 1) * 1e9
  while C.nanosleep(t, t) ~= 0 and ffi.errno() == M.EINTR do end
end

-- Sanitizers slow everything down; a loaded machine does too.
local slow = ({ asan = 4, tsan = 8, debug = 2 })[os.getenv "MODE" or "release"] or 1

--- How long to wait for something that takes up to `seconds` in a release build.
function M.patience(seconds)
  return seconds * slow
end

--- Raises unless fn(4 * n) takes about four times the processor time of fn(n): what grows with the
-- square takes sixteen times. Processor time, so that a busy machine does not matter.
function M.linear(n, fn)
  local function cost(size)
    local best = math.huge
    for _ = 1, 2 do
      collectgarbage()
      local began = os.clock()
      fn(size)
      best = math.min(best, os.clock() - began)
    end
    return best
  end
  local once, four = cost(n), cost(4 * n)
  if four > 9 * once + 0.2 then
    error(("not linear: %.3f s of processor time for %d, %.3f s for four times that"):format(once, n,
      four), 2)
  end
end

--- Waits until fn() is truthy and returns its values; after `seconds` (more under sanitizers) it
-- raises "WHAT did not happen within N s". `what` may be a function that tells the state then.
function M.wait_until(fn, seconds, what)
  local limit = M.patience(seconds or 5)
  local deadline, pause = M.now() + limit, 0.001
  repeat
    local a, b, c = fn()
    if a then return a, b, c end
    M.sleep(pause)
    pause = math.min(pause * 1.5, 0.02)
  until M.now() > deadline
  local a, b, c = fn()
  if a then return a, b, c end
  if type(what) == "function" then what = what() end
  error(("%s: did not happen within %g s"):format(what or "condition", limit), 2)
end

--- Polls one descriptor: "in", "out". Returns true, or false after `seconds`.
function M.poll(fd, what, seconds)
  local p = ffi.new("struct sys_pollfd[1]", { { fd, what == "out" and M.POLLOUT or M.POLLIN, 0 } })
  local deadline = M.now() + (seconds or 0)
  repeat
    local ms = math.max(0, math.ceil((deadline - M.now()) * 1000))
    local n = C.poll(p, 1, ms)
    if n > 0 then return true end
    if n < 0 and ffi.errno() ~= M.EINTR then error("poll: " .. M.errtext(), 2) end
  until M.now() >= deadline
  return false
end

--- Sets or clears O_NONBLOCK.
function M.nonblock(fd, on)
  local flags = C.fcntl(fd, 3)
  flags = on and bit.bor(flags, M.O_NONBLOCK) or bit.band(flags, bit.bnot(M.O_NONBLOCK))
  assert(C.fcntl(fd, 4, ffi.cast("int", flags)) == 0, "fcntl")
end

local chunk_size = 65536
local chunk = ffi.new("char[?]", chunk_size)

--- One read(2) of up to n bytes: data; "" at the end; nil, text, errno on failure.
function M.read(fd, n)
  n = math.min(n or chunk_size, chunk_size)
  local got
  repeat got = tonumber(C.read(fd, chunk, n)) until got >= 0 or ffi.errno() ~= M.EINTR
  if got < 0 then
    local e = ffi.errno()
    return nil, M.errtext(e), e
  end
  return ffi.string(chunk, got)
end

--- The open descriptors of this process (below 1024), as a set.
function M.open_fds()
  local set = {}
  for fd = 0, 1023 do
    if C.fcntl(fd, 1) >= 0 then set[fd] = true end
  end
  return set
end

return M
