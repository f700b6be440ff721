-- Which instances of each service there are (from Consul), and which one gets the next request.
--
-- One worker asks Consul with long polls and keeps the answers in memory that all workers share, so
-- a change counts at once and nothing is reloaded: a reload would close the clients' idle
-- connections while requests may be on their way.

local balancer = require "ngx.balancer"
local json = require "cjson.safe"

local M = {}

-- Seconds that Consul holds a question when nothing changes; a worker that ends may wait as long.
local POLL_SECONDS = 5
-- Seconds between two questions to a Consul that does not answer.
local RETRY_SECONDS = 0.5
-- Requests that fail at an instance within EJECT_SECONDS until it is left out for as long.
local EJECT_AFTER = 2
local EJECT_SECONDS = 5
-- Instances that one request is tried at (proxy_next_upstream_tries is the same).
local TRIES = 3

local instances = ngx.shared.instances
local failures = ngx.shared.failures

-- ask sends one HTTP/1.0 request to Consul; returns the body and the index of the next question.
local function ask(host, port, path)
    local socket = ngx.socket.tcp()
    socket:settimeouts(1000, 1000, (POLL_SECONDS + 5) * 1000)
    local ok, err = socket:connect(host, port)
    if not ok then return nil, err end
    ok, err = socket:send("GET " .. path .. " HTTP/1.0\r\nHost: consul\r\n\r\n")
    if not ok then return nil, err end
    local answer
    answer, err = socket:receive("*a")
    socket:close()
    if not answer then return nil, err end
    local head, body = answer:match("^(.-)\r\n\r\n(.*)$")
    if not head or not head:match("^HTTP/1%.%d 200") then return nil, answer:sub(1, 80) end
    return body, tonumber(head:match("[Xx]%-[Cc]onsul%-[Ii]ndex: (%d+)"))
end

-- addresses turns Consul's answer into "host:port host:port ...", sorted; nil if it is no answer.
local function addresses(body)
    local entries = json.decode(body)
    if type(entries) ~= "table" then return nil end
    local list = {}
    for i, entry in ipairs(entries) do
        local host = entry.Service.Address
        if host == "" then host = entry.Node.Address end
        list[i] = host .. ":" .. entry.Service.Port
    end
    table.sort(list)
    return table.concat(list, " ")
end

local function poll(premature, host, port, service, index)
    if premature then return end
    local path = ("/v1/health/service/%s?passing&index=%d&wait=%ds"):format(service, index, POLL_SECONDS)
    local delay, body, next_index = RETRY_SECONDS, ask(host, port, path)
    local list = body and addresses(body)
    if not list then
        -- Consul is away: what was last known stays. Its next life counts from the beginning.
        ngx.log(ngx.WARN, "consul: ", service, ": ", next_index or "no list")
        next_index = 0
    elseif list == "" then
        -- Consul lost its memory, or every instance is not ready. Sending requests where there was
        -- somebody last is never worse than refusing them.
        if instances:get(service) then ngx.log(ngx.WARN, "consul: no instance of ", service) end
        delay = 0
    else
        if list ~= instances:get(service) then
            ngx.log(ngx.NOTICE, "consul: ", service, " is at ", list)
            instances:set(service, list)
        end
        delay = 0
    end
    -- An index that goes backwards is that of another Consul.
    if not next_index or next_index < index then next_index = 0 end
    if ngx.worker.exiting() then return end
    -- A timer for each question, so that what one allocates is freed.
    ngx.timer.at(delay, poll, host, port, service, next_index)
end

-- watch follows the services from now on. To be called when a worker starts.
function M.watch(host, port, services)
    if ngx.worker.id() ~= 0 then return end
    for _, service in ipairs(services) do
        ngx.timer.at(0, poll, host, port, service, 0)
    end
end

-- Lists by their text, so that a worker takes each apart once.
local parsed_text, parsed_list = {}, {}

local function list_of(service)
    local text = instances:get(service) or ""
    if parsed_text[service] ~= text then
        local list = {}
        for host, port in text:gmatch("(%S+):(%d+)") do
            list[#list + 1] = { host = host, port = tonumber(port), name = host .. ":" .. port }
        end
        parsed_text[service], parsed_list[service] = text, list
    end
    return parsed_list[service]
end

local function failed(peer)
    local count = failures:incr("failed " .. peer.name, 1, 0, EJECT_SECONDS)
    if count and count >= EJECT_AFTER then
        ngx.log(ngx.WARN, peer.name, " is left out for ", EJECT_SECONDS, " s")
        failures:set("out " .. peer.name, true, EJECT_SECONDS)
    end
end

local turns = {}

-- next_peer: the next one in turn that this request has not been at; those left out come last.
local function next_peer(service, list, tried)
    local turn = (turns[service] or math.random(0, 1000)) + 1
    turns[service] = turn
    local fallback
    for i = 0, #list - 1 do
        local peer = list[(turn + i) % #list + 1]
        if not tried[peer.name] then
            if not failures:get("out " .. peer.name) then return peer end
            fallback = fallback or peer
        end
    end
    return fallback
end

-- balance chooses the instance for this request, or for its next attempt.
function M.balance(service)
    local list, attempt = list_of(service), ngx.ctx.attempt
    if not attempt then
        attempt = { tried = {} }
        ngx.ctx.attempt = attempt
        local more = math.min(#list, TRIES) - 1
        if more > 0 then balancer.set_more_tries(more) end
    elseif balancer.get_last_failure() == "failed" then
        failed(attempt.last)
    end
    local peer = next_peer(service, list, attempt.tried)
    if not peer then return ngx.exit(503) end
    attempt.tried[peer.name], attempt.last = true, peer
    balancer.set_current_peer(peer.host, peer.port)
end

return M
