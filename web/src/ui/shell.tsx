import type { ComponentChildren } from "preact";
import { bytes } from "../app/format";
import { route } from "../app/router";
import { account, session, unfinished } from "../app/services";
import { t } from "../i18n";
import { Icon, type IconName } from "./parts/icons";
import { Progress } from "./parts/progress";

/** What stands around every page: the way to the others, and how much room is left. */
export function Shell({ children }: { children: ComponentChildren }) {
  return (
    <div class="shell">
      <a class="skip" href="#main">
        {t("app.skip")}
      </a>
      <aside class="side">
        <a class="brand" href="/">
          <Icon name="cloud" />
          <span>{t("app.title")}</span>
        </a>
        <nav aria-label={t("nav.label")}>
          <Place page="drive" href="/" icon="folder" text={t("nav.files")} />
          <Place
            page="uploads"
            href="/uploads"
            icon="clock"
            text={t("nav.uploads")}
            short={t("nav.uploadsShort")}
            count={unfinished.value.length}
          />
          <Place page="shares" href="/shares" icon="link" text={t("nav.shares")} />
          <Place page="trash" href="/trash" icon="trash" text={t("nav.trash")} />
          <Place page="account" href="/account" icon="user" text={t("nav.account")} />
        </nav>
        <Quota />
      </aside>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

interface PlaceProps {
  page: string;
  href: string;
  icon: IconName;
  text: string;
  short?: string;
  count?: number;
}

function Place({ page, href, icon, text, short, count = 0 }: PlaceProps) {
  const here = route.value.page === page;
  return (
    <a href={href} aria-current={here ? "page" : undefined}>
      <Icon name={icon} />
      <span class={short ? "long" : ""}>{text}</span>
      {short && <span class="short">{short}</span>}
      {count > 0 && <span class="count">{count}</span>}
    </a>
  );
}

function Quota() {
  const mine = account.value;
  if (!mine) return <div class="quota" />;
  const { quota_bytes: total, used_bytes: used, reserved_bytes: reserved } = mine;
  const full = used + reserved > total * 0.9;
  return (
    <div class="quota">
      <div class="who">{mine.display_name || session.username.value}</div>
      <Progress
        value={used + reserved}
        max={total}
        label={t("quota.label")}
        class={full ? "full" : ""}
      />
      <p class="muted">{t("quota.text", { used: bytes(used), total: bytes(total) })}</p>
      {full && <a href="/trash">{t("quota.makeRoom")}</a>}
      {reserved > 0 && <p class="muted">{t("quota.reserved", { reserved: bytes(reserved) })}</p>}
    </div>
  );
}
