/** Something of a browser: keeps cookies by their paths, follows redirects by hand, fills in forms. No script runs. */
export interface Page {
  readonly status: number;
  readonly url: string;
  readonly headers: Headers;
  readonly text: string;
}
interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  readonly host: string;
}

const REDIRECTS_MAX = 20;

export class Browser {
  readonly #cookies: Cookie[] = [];
  readonly #headers: Readonly<Record<string, string>>;

  constructor(headers: Readonly<Record<string, string>> = {}) {
    this.#headers = { accept: 'text/html,*/*;q=0.8', ...headers };
  }

  /** One request, cookies and all; redirects are left to the caller. */
  async fetch(url: string, init: RequestInit = {}): Promise<Page> {
    const target = new URL(url);
    const headers = new Headers({ ...this.#headers, ...(init.headers as Record<string, string>) });
    const shown = this.#cookies.filter(({ host, path }) => host === target.host && covers(path, target.pathname));
    if (shown.length > 0) headers.set('cookie', shown.map(({ name, value }) => `${name}=${value}`).join('; '));
    const response = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) this.#keep(line, target);
    return { status: response.status, url, headers: response.headers, text: await response.text() };
  }

  /** Follows redirects until a page, or until one leads to where `stopAt` says: then that address is the page's. */
  async go(url: string, stopAt: (url: URL) => boolean = () => false, init: RequestInit = {}): Promise<Page> {
    let page = await this.fetch(url, init);
    for (let count = 0; page.status >= 300 && page.status < 400; count++) {
      if (count === REDIRECTS_MAX) throw new Error(`redirects without end at ${page.url}`);
      const next = new URL(page.headers.get('location') ?? '', page.url);
      if (stopAt(next)) return { ...page, url: next.href };
      page = await this.fetch(next.href);
    }
    return page;
  }

  /** Sends a form of a page.  @param step end of its action  @param fields instead of what is filled in */
  submit(
    page: Page,
    step: string,
    fields: readonly (readonly [string, string])[],
    stopAt?: (url: URL) => boolean,
    headers: Record<string, string> = {},
  ): Promise<Page> {
    const action = [...page.text.matchAll(/<form[^>]*\saction="([^"]*)"/g)].map((match) => match[1] ?? '');
    const found = action.find((each) => each.endsWith(step));
    if (found === undefined) throw new Error(`no form ${step} on the page ${page.url} (${page.status}): ${page.text}`);
    const url = new URL(found, page.url);
    return this.go(url.href, stopAt, {
      method: 'POST',
      body: new URLSearchParams(fields.map(([name, value]): [string, string] => [name, value])),
      headers: { origin: url.origin, 'sec-fetch-site': 'same-origin', ...headers },
    });
  }

  cookie(name: string): string | undefined {
    return this.#cookies.find((cookie) => cookie.name === name)?.value;
  }

  #keep(line: string, target: URL): void {
    const [pair = '', ...attributes] = line.split(/;\s*/);
    const [name = '', ...rest] = pair.split('=');
    const attribute = (wanted: string): string | undefined =>
      attributes.find((each) => each.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1);
    const path = attribute('path') ?? '/';
    const index = this.#cookies.findIndex(
      (each) => each.name === name && each.path === path && each.host === target.host,
    );
    if (index >= 0) this.#cookies.splice(index, 1);
    const expires = attribute('expires');
    const gone = attribute('max-age') === '0' || (expires !== undefined && Date.parse(expires) < Date.now());
    if (!gone) this.#cookies.push({ name, value: rest.join('='), path, host: target.host });
  }
}

const covers = (path: string, asked: string): boolean =>
  asked === path || asked.startsWith(path.endsWith('/') ? path : `${path}/`);
