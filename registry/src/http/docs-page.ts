/** As much of an OpenAPI document as its page reads. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly [more: string]: unknown;
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly security?: readonly unknown[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
    readonly schema?: unknown;
  }[];
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: unknown }>> };
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>;
}

/** The document as one page of plain HTML: no script, nothing from elsewhere. */
export function docsPage(document: OpenApiDocument): string {
  const sections = new Map<string, string[]>();
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const [method, value] of Object.entries(item)) {
      const operation = value as Operation;
      const tag = operation.tags?.[0] ?? 'other';
      const section = sections.get(tag) ?? [];
      section.push(operationHtml(method, path, operation));
      sections.set(tag, section);
    }
  }
  const body = [...sections].map(
    ([tag, parts]) => `<section id="${escapeHtml(tag)}"><h2>${escapeHtml(tag)}</h2>${parts.join('')}</section>`,
  );
  const links = [...sections.keys()].map((tag) => `<a href="#${escapeHtml(tag)}">${escapeHtml(tag)}</a>`);
  const title = `${escapeHtml(document.info.title)} ${escapeHtml(document.info.version)}`;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head><body><h1>${title}</h1><p>${escapeHtml(document.info.description ?? '')}</p><nav>${links.join(' · ')} · <a href="/openapi.json">openapi.json</a></nav>${body.join('')}</body></html>`;
}

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}h2{margin-top:2.5rem;border-bottom:1px solid #d5dbe3}details{margin:.5rem 0;border:1px solid #d5dbe3;border-radius:6px;padding:.5rem .75rem}summary{cursor:pointer}code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f4f6f9;padding:.75rem;overflow:auto;border-radius:6px}.m{display:inline-block;width:4.5rem;font-weight:600}table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;vertical-align:top}small{color:#5b6675}@media(prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ec}a{color:#8ab4f8}pre{background:#1b212a}details,h2{border-color:#323b47}small{color:#94a0ae}}';

function operationHtml(method: string, path: string, operation: Operation): string {
  const parameters = (operation.parameters ?? []).map(
    (each) =>
      `<tr><td><code>${escapeHtml(each.name)}</code></td><td><small>${escapeHtml(each.in)}</small></td><td>${escapeHtml(each.description ?? '')}</td></tr>`,
  );
  const body = Object.entries(operation.requestBody?.content ?? {}).map(
    ([type, { schema }]) =>
      `<p>Body <code>${escapeHtml(type)}</code></p><pre>${escapeHtml(JSON.stringify(schema, null, 2))}</pre>`,
  );
  const answers = Object.entries(operation.responses ?? {}).map(
    ([status, answer]) =>
      `<tr><td><code>${escapeHtml(status)}</code></td><td>${escapeHtml(answer.description ?? '')}</td></tr>`,
  );
  const open = operation.security?.length === 0 ? ' <small>open to all</small>' : '';
  return `<details><summary><code><span class="m">${escapeHtml(method.toUpperCase())}</span>${escapeHtml(path)}</code> ${escapeHtml(operation.summary ?? '')}${open}</summary><p>${escapeHtml(operation.description ?? '')}</p><table>${parameters.join('')}</table>${body.join('')}<table>${answers.join('')}</table></details>`;
}

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
