import { openApiDocument, routes } from '@millrace/registry';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { describe, expect, test } from 'vitest';

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly description?: string }[];
  readonly responses: Readonly<Record<string, { readonly headers?: object }>>;
}
const document = openApiDocument('1.2.3') as unknown as {
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
);

describe('the OpenAPI document', () => {
  test('is found right by the rules of somebody else', async () => {
    const config = await createConfig({
      extends: ['spec', 'recommended-strict'],
      rules: {
        // Its own servers are relative; probes and documents refuse nobody.
        'no-server-example.com': 'off',
        'operation-4xx-response': 'off',
        // Who logs in elsewhere is sent there: 303.
        'operation-2xx-response': 'off',
        // /groups/tree beside /groups/{id}: the first that fits answers, and no id is a word.
        'no-ambiguous-paths': 'off',
        'no-invalid-media-type-examples': ['error', { allowAdditionalProperties: false }],
      },
    });
    const problems = await lintFromString({ source: JSON.stringify(document), config });
    const told = problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} at ${location[0]?.pointer}`);
    expect(told).toEqual([]);
  });

  test('names each operation once, in camel case', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z][A-Za-z0-9]*$/);
  });

  test('has a meaning for each tag that is used, and uses each', () => {
    const used = new Set(operations.flatMap(({ operation }) => operation.tags));
    expect([...used].sort()).toEqual(document.tags.map(({ name }) => name).sort());
  });

  test('says what each parameter means', () => {
    const silent = operations.flatMap(({ name, operation }) =>
      (operation.parameters ?? [])
        .filter(({ description = '' }) => description === '')
        .map((each) => `${name}: ${each.name}`),
    );
    expect(silent).toEqual([]);
  });

  test('tells of every route that is not for browsers alone', () => {
    const told = new Set(operations.map(({ name }) => name));
    const silent = routes
      .map(({ specification: { method, path, hidden } }) => ({ name: `${method.toUpperCase()} ${path}`, hidden }))
      .filter(({ name, hidden }) => hidden !== true && !told.has(name));
    expect(silent).toEqual([]);
  });
});
