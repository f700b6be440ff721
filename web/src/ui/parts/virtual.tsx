import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Rows drawn beyond what is visible, so that fast scrolling shows no gaps. */
const OVERSCAN = 8;

interface Props {
  count: number;
  /** Pixels. */
  rowHeight: number;
  /** The row that must be in sight, wherever it goes, unless somebody has scrolled away from it. */
  sight?: number | undefined;
  class?: string;
  children(index: number): ComponentChildren;
  onEnd?: () => void;
  wrap(rows: ComponentChildren): ComponentChildren;
}

/** Draws only the rows in sight, whatever their number. */
export function VirtualRows(props: Props) {
  const { count, rowHeight, sight, children, onEnd, wrap } = props;
  const ref = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return;
    const look = () => setView({ top: box.scrollTop, height: box.clientHeight });
    look();
    box.addEventListener("scroll", look, { passive: true });
    const observer = new ResizeObserver(look);
    observer.observe(box);
    return () => {
      box.removeEventListener("scroll", look);
      observer.disconnect();
    };
  }, []);
  const [first, last] = drawn(view.top, view.height, rowHeight, count);
  const seen = useRef<number | undefined>(undefined);
  useLayoutEffect(() => {
    const box = ref.current;
    const before = seen.current;
    seen.current = sight;
    if (!box || sight === undefined) return;
    // As the box stands now: what it has scrolled to just before is not in the state yet, and the row
    // that the next key leads to must be drawn to take the focus.
    const [start, end] = drawn(box.scrollTop, box.clientHeight, rowHeight, count);
    if (before !== undefined && (before < start || before >= end)) return;
    const top = sight * rowHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + rowHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + rowHeight - box.clientHeight;
    }
  }, [sight, rowHeight]);
  useEffect(() => {
    if (last >= count) onEnd?.();
  }, [last, count]);
  const rows = [];
  for (let index = first; index < last; index++) rows.push(children(index));
  return (
    <div class={`scroller ${props.class ?? ""}`} ref={ref}>
      <div class="tall" style={{ height: `${count * rowHeight}px` }} role="presentation">
        <div
          class="window"
          style={{ transform: `translateY(${first * rowHeight}px)` }}
          role="presentation"
        >
          {wrap(rows)}
        </div>
      </div>
    </div>
  );
}

/** The first row that is drawn, and the one behind the last. */
function drawn(top: number, height: number, rowHeight: number, count: number): [number, number] {
  const first = Math.max(0, Math.floor(top / rowHeight) - OVERSCAN);
  return [first, Math.min(count, Math.ceil((top + height) / rowHeight) + OVERSCAN)];
}

/** Does the window match? Follows changes. */
export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const look = () => setMatches(list.matches);
    list.addEventListener("change", look);
    return () => list.removeEventListener("change", look);
  }, [query]);
  return matches;
}
