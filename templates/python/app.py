"""Messages become tasks."""
import json

import wit_world
from componentize_py_types import Err
from wit_world.imports.types import Context, MapError, Outcome_Skip, Outcome_Tasks


class WitWorld(wit_world.WitWorld):
    def transform(self, payload: str, context: Context):
        """`payload` is JSON text that input.schema.json has let through; `context.config` is [config] of plugin.toml. `print`
        writes to the plugin's log, and `datetime.now()` is when the event was received, in UTC."""
        message, config = json.loads(payload), json.loads(context.config)
        if message.get("spam"):
            return Outcome_Skip("spam")
        # To refuse a payload: raise Err(MapError("what to change", "/place"))
        task = {
            "title": f"Message from {message.get('from') or 'somebody'}",
            "description": message["message"],
            "assigned_user_ids": [config["default_assignee"]],
            "created_by_id": context.integration,
            # A date without a time is enough.
            "deadline": message.get("due") or context.received_at,
        }
        return Outcome_Tasks([json.dumps(task)])
