import { describe, expect, it } from "vitest";
import { clientOf } from "../src/ui/account/client";

const MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit";

describe("clients", () => {
  it("have the names that people know", () => {
    for (const [agent, browser, system] of [
      [
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Firefox",
        "Linux",
      ],
      [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
        "Edge",
        "Windows",
      ],
      [`${MAC}/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15`, "Safari", "macOS"],
      [`${MAC}/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36`, "Chrome", "macOS"],
      [
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
        "Chrome",
        "Android",
      ],
      [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/140.0 Mobile/15E148 Safari/605.1.15",
        "Firefox",
        "iPhone",
      ],
    ] as const) {
      expect(clientOf(agent), agent).toEqual({ browser, system });
    }
  });

  it("of other kinds say it themselves", () => {
    for (const agent of ["", "cloudstore/0.1.0", "curl/8.5.0", "Mozilla/5.0 (compatible; bot)"]) {
      expect(clientOf(agent), agent).toBeUndefined();
    }
  });
});
