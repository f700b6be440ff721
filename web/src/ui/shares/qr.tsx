import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";

/** Modules of quiet zone around the code (ISO/IEC 18004 asks for four). */
const QUIET = 4;

/**
 * The link as a QR code, one path of an inline SVG: the policy allows no style attributes and no
 * `data:` pictures. What draws it is fetched when it is wanted.
 */
export function Qr({ text }: { text: string }) {
  const [code, setCode] = useState<{ size: number; path: string }>();
  useEffect(() => {
    let gone = false;
    // Without the code there is still the link.
    import("uqr")
      .then(({ encode }) => {
        const { size, data } = encode(text, { ecc: "M", border: QUIET });
        if (!gone) setCode({ size, path: pathOf(data) });
      })
      .catch(() => {});
    return () => {
      gone = true;
    };
  }, [text]);
  return (
    <div class="qr">
      {code && (
        <svg
          viewBox={`0 0 ${code.size} ${code.size}`}
          role="img"
          aria-label={t("shares.qr")}
          shape-rendering="crispEdges"
        >
          <path d={code.path} />
        </svg>
      )}
    </div>
  );
}

/** Runs of dark modules, row by row. */
export function pathOf(rows: boolean[][]): string {
  const runs: string[] = [];
  for (const [y, row] of rows.entries()) {
    for (let x = 0; x < row.length; x++) {
      const from = x;
      while (row[x]) x += 1;
      if (x > from) runs.push(`M${from} ${y}h${x - from}v1h${from - x}z`);
    }
  }
  return runs.join("");
}
