import { driveUrl } from "../../app/router";
import { t } from "../../i18n";
import { join, segments } from "../../paths";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { dropInto } from "./list";

/** The way to a folder; what is dropped on a part of it is moved there. */
export function Crumbs({
  path,
  moved,
}: {
  path: string;
  moved(paths: string[], to: string): void;
}) {
  const names = segments(path);
  const crumbs = names.map((name, index) => ({
    name,
    path: names.slice(0, index + 1).reduce(join, "/"),
  }));
  const last = crumbs.length - 1;
  return (
    <nav class="crumbs" aria-label={t("drive.path")}>
      <ol>
        <li {...dropInto((paths) => moved(paths, "/"))}>
          {last < 0 ? <h1>{t("drive.home")}</h1> : <a href="/">{t("drive.home")}</a>}
        </li>
        {crumbs.map((crumb, index) => (
          <li key={crumb.path} {...dropInto((paths) => moved(paths, crumb.path))}>
            <Icon name="chevron" />
            {index === last ? (
              <h1 aria-current="page">
                <Name name={crumb.name} />
              </h1>
            ) : (
              <a href={driveUrl(crumb.path)}>
                <Name name={crumb.name} />
              </a>
            )}
          </li>
        ))}
      </ol>
    </nav>
  );
}
