import { createHash } from 'node:crypto';
import { escapeHtml, prose, type Schema, schemaHtml, typeHtml } from './docs-schema.ts';
import { DOCS_STYLE } from './docs-style.ts';

/** As much of an OpenAPI document as its page reads. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly tags?: readonly { readonly name: string; readonly description?: string }[];
  readonly paths?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly [more: string]: unknown;
}

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly security?: readonly unknown[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly required?: boolean; readonly content?: Readonly<Record<string, Content>> };
  readonly responses?: Readonly<Record<string, Answer>>;
}
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
  readonly example?: unknown;
}
interface Content {
  readonly schema?: Schema;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}
interface Answer {
  readonly description?: string;
  readonly headers?: Readonly<Record<string, { readonly description?: string }>>;
  readonly content?: Readonly<Record<string, Content>>;
}
interface Told {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** What the page may load: its own style, and nothing else. */
export const docsPolicy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(DOCS_STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The document as one page of plain HTML: no script, nothing from elsewhere. A browser's own search opens what it finds
 *  in. */
export function docsPage(document: OpenApiDocument): string {
  const { info, tags = [] } = document;
  const all = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): Told => ({ method, path, operation: operation as Operation })),
  );
  const order = [...new Set([...tags.map(({ name }) => name), ...all.map(tagOf)])];
  const groups = order
    .map((tag) => ({ tag, told: all.filter((each) => tagOf(each) === tag) }))
    .filter(({ told }) => told.length > 0);
  const title = `${escapeHtml(info.title)} ${escapeHtml(info.version)}`;
  const sections = groups.map(({ tag, told }) => {
    const meaning = tags.find(({ name }) => name === tag)?.description ?? '';
    return `<section id="${anchor(tag)}"><h2>${escapeHtml(tag)}</h2><p>${prose(meaning)}</p>${told.map(operationHtml).join('')}</section>`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${title}</title><style>${DOCS_STYLE}</style></head><body><nav><h1>${title}</h1>${groups.map(contentsHtml).join('')}<p><a href="#schemas">Schemas</a> · <a href="/openapi.json">openapi.json</a></p></nav><main><p>${prose(info.description ?? '')}</p><p><small>Your browser’s search finds in what is folded, too.</small></p>${sections.join('')}${schemasHtml(document)}</main></body></html>`;
}

const tagOf = ({ operation }: Told): string => operation.tags?.[0] ?? 'other';
const anchor = (tag: string): string => escapeHtml(tag.replaceAll(/\W+/g, '-'));
const idOf = ({ method, path, operation }: Told): string => escapeHtml(operation.operationId ?? `${method} ${path}`);

function contentsHtml({ tag, told }: { readonly tag: string; readonly told: readonly Told[] }): string {
  const links = told.map(
    (each) =>
      `<li><a href="#${idOf(each)}" title="${escapeHtml(each.operation.summary ?? '')}"><span class="${each.method}">${each.method.toUpperCase()}</span> ${escapeHtml(each.path)}</a></li>`,
  );
  return `<details><summary><a href="#${anchor(tag)}">${escapeHtml(tag)}</a></summary><ul>${links.join('')}</ul></details>`;
}

/** Its anchor lies in what is folded: a browser that goes there unfolds it. */
function operationHtml(told: Told): string {
  const { method, path, operation } = told;
  const { summary = '', description, security } = operation;
  const open = security?.length === 0 ? '<p><small>Open to all.</small></p>' : '';
  const parts = [
    description === undefined ? '' : `<p>${prose(description)}</p>`,
    open,
    parametersHtml(operation.parameters ?? []),
    bodyHtml(operation),
    `<h3>Try it</h3>${curls(told)
      .map((text) => `<pre>${escapeHtml(text)}</pre>`)
      .join('')}`,
    answersHtml(operation.responses ?? {}),
  ];
  return `<details class="operation"><summary><span class="method ${method}">${method}</span><code class="path">${escapeHtml(path)}</code><span class="says">${prose(summary)}</span></summary><div class="inside" id="${idOf(told)}">${parts.join('')}</div></details>`;
}

function parametersHtml(parameters: readonly Parameter[]): string {
  if (parameters.length === 0) return '';
  const rows = parameters.map(
    (each) =>
      `<tr><td><code>${escapeHtml(each.name)}</code></td><td><small>${each.in}${each.required === true ? ', needed' : ''}</small></td><td>${prose(each.description ?? '')} ${typeHtml(each.schema ?? {})}</td></tr>`,
  );
  return `<h3>Parameters</h3><table>${rows.join('')}</table>`;
}

function bodyHtml({ requestBody }: Operation): string {
  const bodies = Object.entries(requestBody?.content ?? {}).map(
    ([type, { schema }]) => `<p><code>${escapeHtml(type)}</code> ${schemaHtml(schema ?? {})}</p>`,
  );
  return bodies.length === 0 ? '' : `<h3>Body</h3>${bodies.join('')}`;
}

function answersHtml(answers: Readonly<Record<string, Answer>>): string {
  const rows = Object.entries(answers).map(([status, { description = '', headers = {}, content = {} }]) => {
    const names = Object.entries(headers).map(
      ([name, header]) => `<br><small><code>${escapeHtml(name)}</code>: ${prose(header.description ?? '')}</small>`,
    );
    const bodies = Object.entries(content).map(([type, { schema }]) =>
      type === 'application/problem+json' ? '' : `<br><small>${escapeHtml(type)}</small> ${schemaHtml(schema ?? {})}`,
    );
    return `<tr><td><code>${status}</code></td><td>${prose(description)}${names.join('')}${bodies.join('')}</td></tr>`;
  });
  return `<h3>Answers</h3><table>${rows.join('')}</table>`;
}

/** The examples of an operation, as one would type them. */
function curls({ method, path, operation }: Told): string[] {
  const given = (where: string): readonly Parameter[] =>
    (operation.parameters ?? []).filter((each) => each.in === where && each.example !== undefined);
  const filled = given('path').reduce(
    (text, { name, example }) => text.replace(`{${name}}`, encodeURIComponent(String(example))),
    path,
  );
  const query = new URLSearchParams(
    given('query').map(({ name, example }): [string, string] => [name, String(example)]),
  );
  const address = `"$MILLRACE${filled}${query.size === 0 ? '' : `?${query}`}"`;
  const words = [
    'curl',
    ...(method === 'get' ? [] : [`-X ${method.toUpperCase()}`]),
    address,
    ...(operation.security?.length === 0 ? [] : ['-H "Authorization: Bearer $TOKEN"']),
  ];
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const bodies = Object.entries(content?.examples ?? {});
  if (type === undefined || bodies.length === 0) return [words.join(' ')];
  return bodies.map(([name, { value }]) => {
    const isJson = type.includes('json');
    const text = isJson ? JSON.stringify(value, null, 2) : String(new URLSearchParams(value as Record<string, string>));
    const sent = `--data '${(typeof value === 'string' ? value : text).replaceAll("'", `'\\''`)}'`;
    return `# ${name}\n${[...words, `-H "Content-Type: ${type}"`, sent].join(' \\\n  ')}`;
  });
}

function schemasHtml(document: OpenApiDocument): string {
  const { schemas = {} } = (document.components ?? {}) as { schemas?: Readonly<Record<string, Schema>> };
  const parts = Object.entries(schemas)
    .sort(([one], [other]) => one.localeCompare(other))
    .map(
      ([name, schema]) =>
        `<details class="schema"><summary><code class="path">${escapeHtml(name)}</code> <span class="says">${prose(schema.description ?? '')}</span></summary><div class="inside" id="schema-${escapeHtml(name)}">${schemaHtml(schema)}</div></details>`,
    );
  return `<section id="schemas"><h2>Schemas</h2>${parts.join('')}</section>`;
}
