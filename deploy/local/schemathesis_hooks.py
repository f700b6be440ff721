"""What Schemathesis does not know of the media types of this API. schemathesis.sh loads it."""

import schemathesis

# tus: bytes as they are.
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
