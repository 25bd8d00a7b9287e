# Reads a JSON array of Authentication-Results values, writes what python3-authres sees in each.
import json
import sys

import authres

out = []
for value in json.load(sys.stdin):
    try:
        header = authres.AuthenticationResultsHeader.parse("Authentication-Results:" + value)
        results = []
        for r in header.results:
            results.append([r.method, r.result or ""])
        out.append({"results": results})
    except Exception as e:
        out.append({"error": repr(e)})
json.dump(out, sys.stdout)
