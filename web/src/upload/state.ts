/**
 * The life of one file on its way, as a table: what may follow what. Everything that happens to a
 * file is an event; what does not fit the state is ignored, because an answer may arrive after the
 * user has changed their mind.
 */

export type State =
  /** For its turn. */
  | "waiting"
  /** Its content is being read and hashed. */
  | "hashing"
  /** Hashed; the server is being asked whether it has it. */
  | "asking"
  /** The server has it, and wants to see that we have it, too. */
  | "proving"
  | "sending"
  /** Every byte is there; the server makes it a file. */
  | "finishing"
  | "done"
  | "paused"
  /** The name is taken; the user decides. */
  | "conflict"
  | "failed"
  | "cancelled"
  /** Given up in favour of the file that was there. */
  | "skipped";

export type Event =
  | "start"
  | "hashed"
  | "prove"
  | "send"
  | "sent"
  | "complete"
  | "pause"
  | "resume"
  | "conflict"
  | "decide"
  | "fail"
  | "retry"
  | "cancel"
  | "skip";

const WORKING = { pause: "paused", fail: "failed", cancel: "cancelled" } as const;

const TABLE: Record<State, Partial<Record<Event, State>>> = {
  // A file whose hash is known from before goes straight to the question.
  waiting: { ...WORKING, start: "hashing", hashed: "asking" },
  // Large files are sent while they are being hashed.
  hashing: { ...WORKING, hashed: "asking", send: "sending" },
  asking: {
    ...WORKING,
    prove: "proving",
    send: "sending",
    complete: "done",
    conflict: "conflict",
  },
  // A proof that is not accepted becomes an ordinary upload.
  proving: { ...WORKING, send: "sending", complete: "done", conflict: "conflict" },
  // The upload may be gone when its turn comes: then it is asked for again.
  sending: {
    ...WORKING,
    sent: "finishing",
    hashed: "asking",
    complete: "done",
    conflict: "conflict",
  },
  finishing: {
    ...WORKING,
    complete: "done",
    send: "sending",
    hashed: "asking",
    conflict: "conflict",
  },
  paused: { resume: "waiting", cancel: "cancelled" },
  conflict: { decide: "waiting", skip: "skipped", cancel: "cancelled" },
  failed: { retry: "waiting", cancel: "cancelled" },
  cancelled: { retry: "waiting" },
  skipped: {},
  done: {},
};

/** The state after an event; the same one when the event does not fit. */
export function next(state: State, event: Event): State {
  return TABLE[state][event] ?? state;
}

export function accepts(state: State, event: Event): boolean {
  return TABLE[state][event] !== undefined;
}

/** Is it meant by somebody who wants this done with all? What was cancelled stays so. */
export function isMeant(state: State, event: Event): boolean {
  return accepts(state, event) && !(event === "retry" && state === "cancelled");
}

/** Something happens with it now, or will without the user. */
export function isLive(state: State): boolean {
  return (
    state === "waiting" ||
    state === "hashing" ||
    state === "asking" ||
    state === "proving" ||
    state === "sending" ||
    state === "finishing"
  );
}

/** Nothing more happens with it. */
export function isOver(state: State): boolean {
  return state === "done" || state === "cancelled" || state === "skipped";
}
