/** What the engine wants of the server; the tests have one of their own. */
import { type Api, contentUrl } from "../api/client";
import type { Created, CreateUpload, FileEntry, OnConflict, UploadState } from "../api/types";
import { type Body, put } from "./transport";

export interface Server {
  create(entry: CreateUpload, signal: AbortSignal): Promise<Created>;
  createBatch(entries: CreateUpload[]): Promise<Created[]>;
  prove(id: string, proof: string, signal: AbortSignal): Promise<FileEntry>;
  status(id: string, signal: AbortSignal): Promise<UploadState>;
  complete(id: string, signal: AbortSignal): Promise<FileEntry>;
  cancel(id: string): Promise<void>;
  /** Deletes a file if it still has this content. */
  remove(path: string, blake3: string): Promise<void>;
  putChunk(id: string, index: number, body: Body, signal: AbortSignal): Promise<void>;
  putContent(target: Target, body: Body, signal: AbortSignal): Promise<FileEntry>;
  /** Does it answer? */
  isThere(): Promise<boolean>;
}

export interface Target {
  path: string;
  rule: OnConflict;
  mtime: string;
}

export function serverOf(api: Api): Server {
  return {
    create: (entry, signal) => api.createUpload(entry, signal),
    createBatch: (entries) => api.createUploads(entries),
    prove: (id, proof, signal) => api.prove(id, proof, signal),
    status: (id, signal) => api.upload(id, signal),
    complete: (id, signal) => api.complete(id, signal),
    cancel: (id) => api.cancelUpload(id),
    remove: (path, blake3) => api.removeIf(path, blake3),
    async putChunk(id, index, body, signal) {
      await put(api, `/api/v1/uploads/${encodeURIComponent(id)}/chunks/${index}`, body, signal);
    },
    async putContent({ path, rule, mtime }, body, signal) {
      const query = new URLSearchParams({ on_conflict: rule, mtime });
      return JSON.parse(await put(api, `${contentUrl(path)}?${query}`, body, signal)) as FileEntry;
    },
    isThere: () => api.isThere(),
  };
}
