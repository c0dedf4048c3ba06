import type { Json, ManifestChange } from '@millrace/sdk';
import { Failure } from './failure.ts';
import { confirm, readDocument } from './input.ts';
import { type Call, type CommandSpecification, flag, text } from './specification.ts';
import { cell, printable } from './table.ts';

const SIGNS = { create: '+', update: '~', delete: '-' } as const;
const COLOURS = { create: 32, update: 33, delete: 31 } as const;

async function apply(call: Call): Promise<void> {
  const path = text(call, 'file');
  if (path === undefined) throw new Failure(2, 'There is no manifest.', 'As: millrace apply -f org.yaml');
  const manifest = await readDocument(path);
  const [client, org] = [await call.client(), await call.org()];
  const prune = flag(call, 'prune') ? { prune: true } : {};
  const plan = await client.manifests.plan(org, manifest, prune);
  const dryRun = flag(call, 'dryRun');
  if (call.output.json && dryRun) {
    call.output.one(plan);
    return;
  }
  if (!call.output.json) call.output.write(planText(plan.changes, process.stdout.isTTY === true));
  if (dryRun || plan.changes.length === 0) {
    if (call.output.json) call.output.one(plan);
    return;
  }
  if (!flag(call, 'yes') && !(await confirm(`Make these ${plan.changes.length} changes?`, 'Add --yes.')))
    throw new Failure(1, 'Nothing was changed.');
  // What was shown is what is made, or nothing.
  const applied = await client.manifests.apply(org, manifest, {
    ...prune,
    ...(plan.version === undefined ? {} : { ifVersion: plan.version }),
  });
  if (call.output.json) call.output.one(applied);
  else call.output.note(`Done: ${summary(plan.changes)}.`);
}

/** What would change, a thing a block. */
export function planText(changes: readonly ManifestChange[], colour: boolean): string {
  if (changes.length === 0) return 'Nothing to do: the organisation is as the manifest says.\n';
  const blocks = changes.map(({ action, kind, name, id, before, after, fields }) => {
    const head = `${SIGNS[action] ?? '?'} ${kind} ${name ?? id ?? ''}`;
    const members = action === 'delete' ? [] : [...differences(before, after), ...untold(after, fields)];
    const lines = [printable(head), ...members.map((line) => `    ${printable(line)}`)];
    return painted(lines.join('\n'), COLOURS[action] ?? 0, colour);
  });
  return `${blocks.join('\n')}\n\n${summary(changes)}\n`;
}

function differences(before: unknown, after: unknown): readonly string[] {
  const [was, is] = [objectOf(before), objectOf(after)];
  const names = [...new Set([...Object.keys(was), ...Object.keys(is)])];
  return names
    .filter((name) => JSON.stringify(was[name]) !== JSON.stringify(is[name]))
    .map((name) =>
      was[name] === undefined ? `${name}: ${shown(is[name])}` : `${name}: ${shown(was[name])} → ${shown(is[name])}`,
    );
}

/** What changes, but is not shown: keys. */
const untold = (after: unknown, fields: readonly string[] = []): readonly string[] =>
  fields.filter((field) => !((field.split('.')[0] as string) in objectOf(after))).map((field) => `${field}: changed`);

const objectOf = (value: unknown): Json =>
  value !== null && typeof value === 'object'
    ? (value as Json)
    : value === undefined || value === null
      ? {}
      : { value };
const shown = (value: unknown): string => (value === undefined || value === null ? 'none' : cell(value));
const painted = (text: string, code: number, colour: boolean): string =>
  colour ? `\u001b[${code}m${text}\u001b[0m` : text;

function summary(changes: readonly ManifestChange[]): string {
  const count = (action: string): number => changes.filter((change) => change.action === action).length;
  return `${count('create')} to create, ${count('update')} to change, ${count('delete')} to delete`;
}

export const manifest: readonly CommandSpecification[] = [
  {
    name: 'apply',
    summary: 'make an organisation match a manifest: plan, ask, all or nothing',
    options: [
      { flags: '-f, --file <path>', description: 'the manifest, YAML or JSON, - for standard input' },
      { flags: '--dry-run', description: 'only show what would change' },
      { flags: '--prune', description: "also delete what the manifest's lists do not name" },
      { flags: '-y, --yes', description: 'do not ask' },
    ],
    examples: ['millrace apply -f org.yaml --dry-run', 'millrace apply -f org.yaml --yes'],
    run: apply,
  },
  {
    name: 'manifest',
    summary: 'write an organisation as a manifest',
    options: [
      { flags: '--kinds <kinds>', description: 'only these lists, as groups,channels' },
      { flags: '--ids', description: 'with all ids, not only where names would not do' },
      { flags: '--keys', description: 'with the keys of things' },
      { flags: '--full', description: 'also what is as it would be if left out' },
    ],
    examples: ['millrace manifest > org.yaml', 'millrace manifest --kinds roles,policies --ids'],
    async run(call) {
      const [client, org] = [await call.client(), await call.org()];
      const kinds = text(call, 'kinds');
      const flags = ['ids', 'keys', 'full'].filter((name) => flag(call, name)).map((name) => [name, true]);
      const query = { ...(kinds === undefined ? {} : { kinds }), ...Object.fromEntries(flags) };
      const document = await client.manifests.read(org, query);
      if (call.output.json) call.output.one(document);
      else call.output.write((await import('yaml')).stringify(document, { lineWidth: 0 }));
    },
  },
];
