import { useEffect, useRef, useState } from "preact/hooks";
import type { Trashed } from "../../api/types";
import { api, arrivals } from "../../app/services";

/** The trash as far as it was looked through, last deleted first. */
export function useTrash() {
  const [entries, setEntries] = useState<Trashed[]>();
  const [cursor, setCursor] = useState<string>();
  const [loading, setLoading] = useState(false);
  const [error, setError] = useState<unknown>();
  const request = useRef<AbortController | undefined>(undefined);

  /** A page: the first one in place of everything, else in addition. */
  const page = async (after: string | undefined, before: Trashed[]) => {
    request.current?.abort();
    const mine = new AbortController();
    request.current = mine;
    setLoading(true);
    try {
      const found = await api.trash(after, mine.signal);
      if (mine.signal.aborted) return;
      const known = new Set(before.map((entry) => entry.id));
      setEntries([...before, ...found.entries.filter((entry) => !known.has(entry.id))]);
      setCursor(found.next_cursor);
      setError(undefined);
    } catch (problem) {
      if (!mine.signal.aborted) setError(problem);
    } finally {
      if (request.current === mine) setLoading(false);
    }
  };
  const load = () => page(undefined, []);
  // Something may have been put back from here, or by undoing its deletion.
  const arrived = arrivals.value;
  useEffect(() => {
    void load();
    return () => request.current?.abort();
  }, [arrived]);
  return {
    entries,
    loading,
    error,
    hasMore: cursor !== undefined,
    load,
    more: () => page(cursor, entries ?? []),
    drop: (gone: Trashed) => setEntries((all) => all?.filter((entry) => entry.id !== gone.id)),
  };
}
