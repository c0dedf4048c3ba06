import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { docsPage, docsPolicy } from './docs-page.ts';
import { openApiDocument } from './open-api.ts';

describe('the page of documentation', () => {
  const document = openApiDocument('1.2.3');
  const page = docsPage(document);

  test('has each operation, and no link that leads nowhere', () => {
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    const links = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
    expect(links.filter((id) => !ids.has(id))).toEqual([]);
    const operations = Object.values(document.paths ?? {}).flatMap((item) => Object.values(item));
    const silent = operations.filter((each) => !ids.has((each as { operationId: string }).operationId));
    expect(silent).toEqual([]);
    expect(operations.length).toBeGreaterThan(100);
  });

  test('has no script, loads nothing, and may use its own style alone', () => {
    expect(page).not.toMatch(/<script|<link|<img| style="| on\w+="|src=/);
    const [, style = ''] = /<style>(.*?)<\/style>/.exec(page) ?? [];
    expect(docsPolicy).toContain(`'sha256-${createHash('sha256').update(style).digest('base64')}'`);
  });

  test('shows what it is given as text', () => {
    const hostile = '<img src=x onerror="alert(1)">';
    const told = docsPage({
      openapi: '3.1.0',
      info: { title: hostile, version: hostile, description: hostile },
      tags: [{ name: hostile, description: hostile }],
      paths: {
        '/a': {
          get: {
            tags: [hostile],
            operationId: hostile,
            summary: hostile,
            description: hostile,
            parameters: [
              { name: hostile, in: 'query', description: hostile, example: hostile, schema: { pattern: hostile } },
            ],
            responses: { 200: { description: hostile } },
          },
        },
      },
    });
    expect(told).not.toContain('<img');
    expect(told).not.toMatch(/="[^">]*" onerror/);
  });
});
