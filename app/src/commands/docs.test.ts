import { readFileSync } from 'node:fs';
import { openApiDocument } from '@millrace/registry';
import { expect, test } from 'vitest';
import { SECTIONS } from '../config.ts';
import { VERSION } from '../version.ts';
import { cliPage } from './cli-page.ts';
import { configurationPage, httpApiPage } from './docs.ts';
import { createProgram } from './program.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test('the published schema of the envelope is the one that the code is generated from', () => {
  expect(read('docs/envelope.fbs')).toBe(read('core/src/envelope/envelope.fbs'));
});

test('the pages that come from the schemas are those that `millrace docs` writes', () => {
  // The number of threads follows the machine's cores.
  const anyThreads = (page: string): string => page.replace(/(`MILLRACE_PROCESSOR_THREADS` \| )`\d+`/, '$1`n`');
  expect(anyThreads(read('docs/configuration.md'))).toBe(anyThreads(configurationPage()));
  expect(read('docs/http-api.md')).toBe(httpApiPage(openApiDocument(VERSION)));
});

test('no setting is two rooms’', () => {
  const names = Object.values(SECTIONS).flatMap((schema) => Object.keys(schema.shape));
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});

test('the page of the command is the one that `millrace docs` writes', () => {
  expect(read('docs/cli.md')).toBe(cliPage(createProgram()));
});
