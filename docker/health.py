"""Exit 0 if a SuperLink or SuperNode answers: ``health.py URL [CA_CERTIFICATE]``."""

import ssl
import sys
import urllib.request

url, *authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority[0]) if authority else None
# A proxy must not be asked for an address of this machine.
handlers = [urllib.request.ProxyHandler({})]
if context:
    handlers.append(urllib.request.HTTPSHandler(context=context))
try:
    urllib.request.build_opener(*handlers).open(url, timeout=4.0).close()
except OSError as error:
    sys.exit(f"{url}: {error}")
