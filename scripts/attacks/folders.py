"""Plugin folders for a server under attack: the shipped one of Calendly as the healthy neighbour, and hostile ones."""
import json, shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "aVeryLongSecretForScriptsOnly_0123456789"
SECRETS = (f'TEXT = "{SECRET}"\n' 'WHSEC = "whsec_c2NyaXB0cy1vbmx5LXNlY3JldC0wMTIzNDU2Nzg5"\n'
           'WHPK = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="\n')
DRAFT = "https://json-schema.org/draft/2020-12/schema"
ANYTHING = {"$schema": DRAFT, "type": "object"}
URL_SECRET = 'scheme = "url-secret"\nsecret = "TEXT"'
IDLE = bytes.fromhex(  # (module (memory (export "memory") 1) (func (export "_start")))
    "0061736d0100000001040160000003020100050301000107130206" "6d656d6f72790200065f737461727400000a040102000b")
LOOPS = bytes.fromhex(  # (module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))
    "0061736d0100000001040160000003020100050301000107130206" "6d656d6f72790200065f737461727400000a0901070003400c000b0b")


def folder(work, name, module=IDLE, schema=ANYTHING, auth=URL_SECRET, company="attacker", limits="", more=""):
    """Writes a plugin folder in one step; gives the URL's path for senders that have its secret."""
    at, draft = work / "plugins" / name, work / "plugins" / f".{name}"
    draft.mkdir(parents=True)
    manifest = (f'name = "{name}"\nversion = "1"\nmodule = "mapper.wasm"\nschema = "input.schema.json"\n'
                f'company_id = "{company}"\n{more}\n[auth]\n{auth}\n[limits]\n{limits}\n')
    (draft / "plugin.toml").write_text(manifest)
    (draft / "mapper.wasm").write_bytes(module)
    (draft / "input.schema.json").write_text(json.dumps(schema))
    draft.rename(at)
    return f"/v1/hooks/{name}/{SECRET}"


def neighbour(work, name="neighbour", more=""):
    """Another company's healthy integration: its path, and a delivery that becomes a task."""
    source, at = ROOT / "plugins/calendly", work / "plugins" / name
    at.mkdir(parents=True)
    for file in ("mapper.wasm", "input.schema.json"):
        shutil.copy(source / file, at)
    manifest = (source / "plugin.toml").read_text().replace('scheme = "api-key"', URL_SECRET)
    manifest = manifest.replace('name = "calendly"', f'name = "{name}"\n{more}', 1).replace("company-1", "victim")
    (at / "plugin.toml").write_text(manifest)
    payload = json.loads((source / "fixtures/created.json").read_text())["payload"]
    return f"/v1/hooks/{name}/{SECRET}", json.dumps(payload)
