/**
 * Large files are sent while they are being hashed: waiting for the hash would double the time on a
 * fast network. If the hash is there before half of the content has been sent, the server is asked
 * whether it has it, and then the rest need not be sent.
 */
import type { Created, FileEntry, Upload } from "../api/types";
import { orAborted } from "./gate";
import type { Item } from "./item";
import { type Context, Delivery, deliver, entryOf, isConflict, startsOver } from "./send";

/** Later than that, asking would save less than it costs. */
const WORTH_ASKING = 0.5;

export async function deliverWhileHashing(
  context: Context,
  item: Item,
  hash: Promise<string>,
  signal: AbortSignal,
): Promise<FileEntry> {
  // Sending may fail first; then nobody waits for the hash.
  hash.catch(() => {});
  const delivery = new Delivery(context, item, signal);
  const known = async () => {
    item.digest = await orAborted(hash, signal);
  };
  try {
    const created = await delivery.steady(() => context.server.create(entryOf(item), signal));
    if (created.status === "uploading") return await sendAside(delivery, created, known);
    await known();
    return await deliver(context, item, created, signal);
  } catch (error) {
    signal.throwIfAborted();
    // The name may be taken by the same content, which is no conflict; only the hash can tell.
    if (!startsOver(error) && !isConflict(error)) throw error;
    await delivery.giveUp();
    await known();
    context.on(item, "hashed");
    return deliver(context, item, undefined, signal);
  }
}

async function sendAside(
  delivery: Delivery,
  upload: Upload,
  known: () => Promise<void>,
): Promise<FileEntry> {
  const { context, item, signal } = delivery;
  context.remember(item, upload);
  context.on(item, "send");
  const enough = new AbortController();
  const ended = AbortSignal.any([signal, enough.signal]);
  const sending = delivery.sendMissing(upload, upload.missing, ended);
  // Whichever is first; an error of either ends both.
  await Promise.race([known(), sending.then(known)]).catch(async (error) => {
    enough.abort(error);
    await sending.catch(() => {});
    throw error;
  });
  context.remember(item, upload);
  if (item.sent < item.size * WORTH_ASKING) {
    const file = await ask(delivery, upload);
    if (file) {
      enough.abort();
      await sending.catch(() => {});
      await context.server.cancel(upload.id).catch(() => {});
      return file;
    }
  }
  return delivery.finish(upload, sending);
}

/** The file, if the server has the content already. The upload under way goes on meanwhile. */
async function ask(delivery: Delivery, upload: Upload): Promise<FileEntry | undefined> {
  const { context, item, signal } = delivery;
  let other: Created | undefined;
  try {
    other = await context.server.create(entryOf(item), signal);
    if (other.status === "instant") return delivery.instant(other.file);
    if (other.status !== "challenge") return undefined;
    const proof = await context.hasher.prove(item.file, other.challenge);
    const file = await context.server.prove(other.id, proof, signal);
    other = undefined;
    return delivery.instant(file);
  } catch {
    // Whatever is wrong with the question, the content is on its way already.
    signal.throwIfAborted();
    return undefined;
  } finally {
    if (other && "id" in other && other.id !== upload.id) {
      void context.server.cancel(other.id).catch(() => {});
    }
  }
}
