/**
 * Sends bodies. `fetch` cannot tell how much of a body has left, XMLHttpRequest can, and it sends
 * slices of a file without reading them into memory.
 */
import type { Api } from "../api/client";
import { ApiError, NetworkError, problemOf } from "../api/error";
import { parseRetryAfter } from "./retry";

/** A body of which nothing has moved for so long is on a dead connection. */
const STALL = 30_000;

export interface Body {
  blob: Blob;
  /** Bytes of the body that have left so far. */
  onSent(bytes: number): void;
}

/** PUTs a body with the session's credentials; once more with new ones if those were too old. */
export async function put(api: Api, url: string, body: Body, signal: AbortSignal): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const token = await api.session.token();
    signal.throwIfAborted();
    const headers: Record<string, string> = {
      Authorization: `Bearer ${token}`,
      // The server guesses the type from the name; what the browser guesses differs by machine.
      "Content-Type": "application/octet-stream",
    };
    api.position.tell((name, value) => {
      headers[name] = value;
    });
    const answer = await send({ method: "PUT", url, headers, body }, signal);
    api.position.learn(answer);
    if (answer.status >= 200 && answer.status < 300) return answer.text;
    if (answer.status === 401 && attempt === 0) {
      api.session.refused(token);
      continue;
    }
    throw failure(answer);
  }
}

/** What an answer that is no success says. */
export function failure(answer: Answer): ApiError {
  const problem = problemOf(answer.status, answer.get("Content-Type") ?? "", answer.text);
  return new ApiError(problem, parseRetryAfter(answer.get("Retry-After"), Date.now()));
}

export interface Request {
  method: string;
  url: string;
  headers: Record<string, string>;
  body?: Body;
}

export interface Answer {
  status: number;
  text: string;
  get(name: string): string | null;
}

/** Sends one request. Fails with `NetworkError` when there is no answer, whatever its status. */
export function send(
  { method, url, headers, body }: Request,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => request.abort(), STALL);
    };
    const stop = () => request.abort();
    request.onloadend = () => {
      clearTimeout(watchdog);
      signal.removeEventListener("abort", stop);
      if (signal.aborted) reject(signal.reason);
      else if (request.status === 0) reject(new NetworkError());
      else {
        const get = (name: string) => request.getResponseHeader(name);
        resolve({ status: request.status, text: request.responseText, get });
      }
    };
    request.upload.onprogress = (event) => {
      alive();
      body?.onSent(event.loaded);
    };
    signal.addEventListener("abort", stop, { once: true });
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    alive();
    request.send(body?.blob ?? null);
  });
}
