// Uploads files with Uppy in Chromium, as a person does who picks them and presses the button. The
// argument is JSON:
//   origin: of the page; nobody serves it, what the browser asks of it is answered here
//   endpoint, token, files
// Prints the names that Uppy says are uploaded.
const path = require('node:path')
const { chromium } = require('playwright-core')

const { origin, files, ...settings } = JSON.parse(process.argv[2])
const packaged = path.dirname(require.resolve('uppy/dist/uppy.min.css'))

async function answer(route) {
  const { pathname } = new URL(route.request().url())
  switch (pathname) {
    case '/':
      return route.fulfill({ path: path.join(__dirname, 'uppy.html') })
    case '/page.mjs':
      return route.fulfill({ path: path.join(__dirname, 'uppy_page.mjs'), contentType: 'text/javascript' })
    case '/settings.json':
      return route.fulfill({ json: settings })
    case '/uppy.min.mjs':
      return route.fulfill({ path: path.join(packaged, pathname), contentType: 'text/javascript' })
    case '/uppy.min.css':
      return route.fulfill({ path: path.join(packaged, pathname) })
    default:
      return route.fulfill({ status: 404 })
  }
}

async function main() {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      // The page has a public name and the server a private address.
      '--disable-features=LocalNetworkAccessChecks',
    ],
  })
  try {
    const page = await browser.newPage()
    page.on('console', (message) => console.error(message.text()))
    page.on('pageerror', (error) => console.error(String(error)))
    await page.route(`${origin}/**`, answer)
    await page.goto(`${origin}/`)
    await page.locator('input.uppy-Dashboard-input').first().setInputFiles(files)
    await page.locator('button.uppy-StatusBar-actionBtn--upload').click()
    const names = await page.evaluate(async () => {
      const { successful, failed } = await window.ended
      if (failed.length > 0) throw new Error(failed.map((file) => `${file.name}: ${file.error}`).join('\n'))
      return successful.map((file) => file.name)
    })
    console.log(names.join('\n'))
  } finally {
    await browser.close()
  }
}

main().catch((error) => {
  console.error(String(error))
  process.exit(1)
})
