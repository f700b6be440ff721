import type { Problem } from "./types";

/** An answer of the server that is no success. */
export class ApiError extends Error {
  readonly status: number;
  /** `type` of the problem without `/problems/`; empty when a gateway answered in its own words. */
  readonly slug: string;
  readonly problem: Problem;
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, retryAfter?: number) {
    super(problem.detail || problem.title);
    this.name = "ApiError";
    this.status = problem.status;
    this.slug = problem.type.startsWith("/problems/") ? problem.type.slice(10) : "";
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The server could not be reached, or the connection broke off. */
export class NetworkError extends Error {
  constructor() {
    super("the server does not answer");
    this.name = "NetworkError";
  }
}

/** The error that a body stands for. Whatever sent it may not have been a cloudstore. */
export function problemOf(status: number, contentType: string, body: string): Problem {
  if (contentType.startsWith("application/problem+json")) {
    try {
      const parsed: unknown = JSON.parse(body);
      if (isProblem(parsed)) return { ...parsed, status };
    } catch {
      // Cut off on its way: the status says enough.
    }
  }
  return { type: "about:blank", title: `HTTP ${status}`, status };
}

function isProblem(value: unknown): value is Problem {
  return (
    typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"
  );
}
