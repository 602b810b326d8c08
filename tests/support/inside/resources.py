"""Print in JSON the version resource, subsystem and manifest of an .exe."""

import importlib
import json
import sys

pefile = importlib.import_module("pefile")  # only the Windows Python has it
exe = pefile.PE(sys.argv[1])
texts: dict[str, dict[str, str]] = {}
for group in exe.FileInfo[0]:
    for table in getattr(group, "StringTable", []):
        entries = {k.decode(): v.decode() for k, v in table.entries.items()}
        texts[table.LangID.decode()] = entries
kinds = {entry.id: entry for entry in exe.DIRECTORY_ENTRY_RESOURCE.entries}
manifest_at = kinds[24].directory.entries[0].directory.entries[0].data.struct
manifest = exe.get_data(manifest_at.OffsetToData, manifest_at.Size).decode()
print(
    json.dumps(
        {
            "subsystem": exe.OPTIONAL_HEADER.Subsystem,
            "texts": texts,
            "manifest": manifest,
            "icons": len(kinds[3].directory.entries),
        }
    )
)
