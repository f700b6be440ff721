// Uploads one file with tus-js-client. The argument is JSON:
//   endpoint, token, file, name: what, whereto and as whom
//   source: how to read it
//   options: of tus-js-client
// Prints the upload's URL.
const fs = require('node:fs')
const { Readable } = require('node:stream')
const tus = require('tus-js-client')

const { endpoint, token, file, name, source, options } = JSON.parse(process.argv[2])
const sources = {
  file: () => fs.createReadStream(file),
  // It does not know how long it is.
  stream: () => Readable.from(fs.createReadStream(file)),
  // Of a file, tus-js-client 4.3.1 does not say any more that it is complete once it had to resume or
  // takes several requests, which only the IETF's protocol needs to know.
  buffer: () => fs.readFileSync(file),
}

const upload = new tus.Upload(sources[source](), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: name },
  retryDelays: [0, 100, 300, 600, 1000, 2000],
  ...options,
  onError(error) {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess() {
    console.log(upload.url)
  },
})
upload.start()
