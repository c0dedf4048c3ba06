import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { openApiDocument } from '@millrace/registry';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const sdk = new URL('../../../sdk/js/', import.meta.url);
const app = new URL('../../../app/package.json', import.meta.url);

test('the types of the API are those that `pnpm docs` makes of the schemas', async () => {
  const generator = (await import(new URL('generate.mjs', sdk).href)) as {
    apiTypes(document: unknown): Promise<string>;
  };
  const { version } = JSON.parse(readFileSync(app, 'utf8')) as { version: string };
  const written = readFileSync(new URL('src/generated/api.ts', sdk), 'utf8');
  // Not toBe: the difference of two such files would fill screens.
  expect(written === (await generator.apiTypes(openApiDocument(version))), 'stale: run pnpm docs').toBe(true);
});

test('it can be bundled for browsers, with nothing of Node in it', async () => {
  const result = await build({
    entryPoints: [new URL('src/index.ts', sdk).pathname],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    conditions: ['source'],
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  expect(result.errors).toEqual([]);
  const imported = Object.values(result.metafile.inputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  expect(imported.filter((path) => path.startsWith('node:') || builtinModules.includes(path))).toEqual([]);
  const text = result.outputFiles[0]?.text ?? '';
  expect(text).toContain('createClient');
  expect(text).not.toMatch(/\brequire\(/);
  const kib = text.length / 1_024;
  console.log(`bundle: ${kib.toFixed(0)} KiB`);
  expect(kib).toBeLessThan(128);
});
