-- What nginx itself has to say about a request, in the form of the services' own errors.

local M = {}

-- A request with more header fields, or with a longer head, would be refused by the services' HTTP
-- library, which says so without a body. They allow 100 and 64 KiB; the gateway adds a few.
local MAX_HEADERS = 90
local MAX_HEAD_BYTES = 60 * 1024

-- By the status that nginx found: slug and title as in the services' table, the detail, and the status
-- that is sent where it is another one. The rest of what nginx may find is "unavailable" (5xx) or
-- "malformed-request".
local MALFORMED = { "malformed-request", "The request cannot be understood", "this is not a valid request" }
local UNAVAILABLE = { "unavailable", "The service is unavailable", "no instance of the service answers", 503 }
local PROBLEMS = {
    [404] = { "not-found", "There is no such thing", "nothing is served here" },
    [405] = { "method-not-allowed", "The method is not allowed here", "no service has this method" },
    [408] = { "request-timeout", "The request took too long to arrive", "the body stopped arriving" },
    [413] = { "too-large", "The content is too large", "the body is larger than any valid one" },
    [414] = { MALFORMED[1], MALFORMED[2], "the address is too long" },
    [416] = { "range-not-satisfiable", "The range cannot be satisfied", "no byte of the range exists" },
    [429] = { "rate-limited", "Too many requests", "too many requests from this address or with this token" },
    [431] = { MALFORMED[1], MALFORMED[2], "there are too many header fields, or they are too long" },
    [501] = { MALFORMED[1], MALFORMED[2], "the transfer coding is not supported" },
    [505] = { MALFORMED[1], MALFORMED[2], "the version of HTTP is not supported" },
}
local INVALID_PATH = { "invalid-path", "The path is invalid", "no entry can have this path", 422 }

local RETRY_AFTER_SECONDS = { [429] = 1, [503] = 2 }

local function problem_of(status)
    -- An address that nginx could not take apart: a NUL in it, or more ".." than there are folders.
    if status == 400 and not ngx.var.request_uri then
        local request = ngx.var.request or ""
        if request:match("^%u+ /api/v1/%l+/") or request:match("^%u+ /dav/") then return INVALID_PATH end
    end
    return PROBLEMS[status] or (status >= 500 and UNAVAILABLE) or MALFORMED
end

-- answer sends the problem for the status that an error_page was chosen by.
function M.answer()
    local problem = problem_of(ngx.status)
    local status, id = problem[4] or ngx.status, ngx.var.id
    ngx.status = status
    -- Nothing behind an unread body may become a request: the connection ends (keepalive_timeout).
    ngx.req.discard_body()
    local headers = ngx.header
    headers["Content-Type"] = "application/problem+json"
    headers["Cache-Control"] = "no-store"
    headers["X-Request-ID"] = id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Retry-After"] = RETRY_AFTER_SECONDS[status]
    if status == 405 then headers["Allow"] = "GET, HEAD, POST, PUT, PATCH, DELETE" end
    local body = ('{"type":"/problems/%s","title":"%s","status":%d,"detail":"%s","request_id":"%s"}'):format(
        problem[1], problem[2], status, problem[3], id)
    headers["Content-Length"] = #body
    ngx.print(body)
end

-- bound_head refuses a head that the services would not take.
function M.bound_head()
    local _, excess = ngx.req.get_headers(MAX_HEADERS, true)
    -- No byte of the body is counted yet.
    local length = tonumber(ngx.var.request_length)
    ngx.ctx.head_length = length
    if excess or length > MAX_HEAD_BYTES then return ngx.exit(431) end
end

-- announce_end tells the client that the connection ends when a service answers before the body has
-- arrived: nginx ends it then, and would say the opposite. Of the two words "close" counts.
function M.announce_end()
    local expected = tonumber(ngx.var.content_length)
    if ngx.status < 400 or not expected then return end
    if ngx.var.request_length - (ngx.ctx.head_length or 0) < expected then
        ngx.header["Connection"] = "close"
    end
end

-- name_methods says which methods an address has whose methods two services share: each of the two
-- names its own only.
function M.name_methods()
    if ngx.status ~= 405 then return end
    local is_dav = ngx.var.request_uri:find("^/dav")
    ngx.header["Allow"] = is_dav
            and "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"
        or "GET, HEAD, PUT, POST, OPTIONS"
end

-- take_range makes the part that the service describes the one that nginx sends; none: all of it.
function M.take_range()
    local described = ngx.var.upstream_http_content_range or ""
    local first, last = described:match("^bytes (%d+)%-(%d+)/")
    -- nil removes it.
    ngx.req.set_header("Range", first and ("bytes=%s-%s"):format(first, last))
end

return M
