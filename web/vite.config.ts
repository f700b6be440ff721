import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ProxyOptions } from "vite";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Where a cloudstore answers while the app is developed or previewed. */
const server = process.env.CLOUDSTORE_SERVER ?? "http://127.0.0.1:8080";
/** One file for every way the app is served, so that tests run under the policy of production. */
const policy = readFileSync(here("csp.txt"), "utf8").trim();

const proxy: Record<string, ProxyOptions> = Object.fromEntries(
  ["/api", "/files", "/dav"].map((path) => [
    path,
    {
      target: server,
      changeOrigin: true,
      // As gateways answer for a server that is away; Vite would say 500.
      configure: (proxy) =>
        proxy.on("error", (_error, _request, response) => {
          if ("writeHead" in response && !response.headersSent) response.writeHead(502).end();
        }),
    },
  ]),
);

export default defineConfig({
  // Absolute, because the app has addresses of any depth.
  base: "/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es" },
  server: { proxy },
  preview: { proxy, headers: { "Content-Security-Policy": policy } },
  build: {
    target: "es2022",
    // Everything is a file of its own: `data:` and inline code are what the policy forbids.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: here("index.html"), sw: here("src/sw.ts") },
      output: {
        // A service worker keeps its address for ever; everything else is named after its content.
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  // Hashing 65 MiB a few times takes seconds on a busy machine.
  test: { include: ["test/**/*.test.ts"], environment: "node", testTimeout: 30_000 },
});
