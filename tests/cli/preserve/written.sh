# The record of a command as profile-wrap writes it, with its two files; everything goes at the end.
trap 'rm -rf crate work again' EXIT
mkdir work
printf "${words:-b\na\nc\n}" > work/words
sort work/words > work/sorted
python3 - > work/run.jsonl <<'END'
import hashlib, json, os
print(json.dumps({"record": "run", "schema": 1, "run": "r", "command": "c", "argv": ["sort", "words", "-o", "sorted"],
                  "began": "2026-11-23T07:00:00.5Z", "directory": os.path.abspath("work")}))
for role, name in (("input", "words"), ("output", "sorted")):
    content = open(f"work/{name}", "rb").read()
    told = {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    print(json.dumps({"record": "file", "command": "c", "role": role, **told}))
print(json.dumps({"record": "exit", "command": "c", "status": 0, "wall_ns": 2500000, "user_ns": 1, "system_ns": 1, "peak_rss_bytes": 1500000}))
END
make_crate() { preserve create work/run.jsonl -o crate --title Sorting --author 'Jan Kowalski' --licence CC0-1.0 "$@"; }
