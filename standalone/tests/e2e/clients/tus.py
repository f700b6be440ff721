"""Uploads one file with tuspy: tus.py ENDPOINT TOKEN FILE NAME CHUNK_SIZE. Prints the upload's URL."""

import sys

from tusclient.client import TusClient

endpoint, token, file, name, chunk_size = sys.argv[1:]
client = TusClient(endpoint, headers={"Authorization": f"Bearer {token}"})
uploader = client.uploader(
    file,
    chunk_size=int(chunk_size),
    metadata={"filename": name},
    upload_checksum=True,
    retries=5,
    retry_delay=1,
)
uploader.upload()
print(uploader.url)
