-- Health of a StockSyncTopology or ChildStore in Argo CD, from the conditions the operator writes.
-- Degraded: a person is needed. Progressing: it passes by itself. Suspended: nothing is written on purpose.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

local function health(name, condition)
  return {status = name, message = condition.reason .. ": " .. (condition.message or "")}
end

local ready = conditions.Ready
if ready == nil then
  return {status = "Progressing", message = "waiting for the operator's first word"}
end
-- The status may speak of the spec before this one; so may a Stalled that this spec mends.
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "this spec is not yet in use; of the one before: " .. health("", ready).message}
end
if holds("Stalled") then
  return health("Degraded", conditions.Stalled)
end
if holds("Reconciling") then
  return health("Progressing", conditions.Reconciling)
end
if holds("Paused") and (ready.status == "True" or conditions.Paused.reason == "Off") then
  return health("Suspended", conditions.Paused)
end
if ready.status == "True" then
  return health("Healthy", ready)
end
return health("Progressing", ready)
