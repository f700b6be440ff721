// What a web page does that lets people upload with Uppy. Its script and style come from the package.
import { Dashboard, Tus, Uppy } from '/uppy.min.mjs'

const { endpoint, token } = await (await fetch('/settings.json')).json()
const uppy = new Uppy()
  .use(Dashboard, { inline: true, target: '#uppy' })
  .use(Tus, {
    endpoint,
    headers: { Authorization: `Bearer ${token}` },
    retryDelays: [0, 100, 300, 600, 1000, 2000],
  })
window.ended = new Promise((resolve) => uppy.on('complete', resolve))
