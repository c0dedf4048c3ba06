import { readFileSync } from 'node:fs';
import { openApiDocument } from '@millrace/registry';
import { expect, test } from 'vitest';
import { VERSION } from '../version.ts';
import { cliPage } from './cli-page.ts';
import { configurationPage, httpApiPage } from './docs.ts';
import { createProgram } from './program.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test('the published schema of the envelope is the one that the code is generated from', () => {
  expect(read('docs/envelope.fbs')).toBe(read('core/src/envelope/envelope.fbs'));
});

test('the pages that come from the schemas are those that `millrace docs` writes', () => {
  // The number of workers follows the machine's cores.
  const anyWorkers = (page: string): string => page.replace(/(`MILLRACE_WORKERS` \| )`\d+`/, '$1`n`');
  expect(anyWorkers(read('docs/configuration.md'))).toBe(anyWorkers(configurationPage()));
  expect(read('docs/http-api.md')).toBe(httpApiPage(openApiDocument(VERSION)));
});

test('the page of the command is the one that `millrace docs` writes', () => {
  expect(read('docs/cli.md')).toBe(cliPage(createProgram()));
});
