import { SECTIONS } from '@millrace/app/config';
import { describe, expect, test } from 'vitest';
import { filesOf, read } from './tools.ts';

/** Names that are no settings of a node: of the commands, of compose.yaml itself, and of ClickHouse's configuration. */
const OWN = [
  'MILLRACE_CONFIG',
  'MILLRACE_IMAGE',
  'MILLRACE_BIND',
  'MILLRACE_HTTPS_PUBLISHED',
  'MILLRACE_HTTP_PUBLISHED',
  'MILLRACE_MQTTS_PUBLISHED',
  'MILLRACE_COAP_PUBLISHED',
  'MILLRACE_GRAFANA_PUBLISHED',
  'MILLRACE_CHIRPSTACK_PUBLISHED',
  'MILLRACE_SHARD',
  'MILLRACE_REPLICA',
  'MILLRACE_INTERSERVER_SECRET',
  'MILLRACE_CLICKHOUSE_PASSWORD_SHA256',
  'MILLRACE_GRAFANA_PASSWORD_SHA256',
];

describe('what is in deploy/', () => {
  test('names settings that there are', () => {
    const known = new Set([...OWN, ...Object.values(SECTIONS).flatMap((section) => Object.keys(section.shape))]);
    const files = [...filesOf('deploy'), ...filesOf('Dockerfile'), 'docs/deploy.md'];
    const wrong: string[] = [];
    let named = 0;
    for (const file of files) {
      for (const [name] of read(file).matchAll(/(?<![A-Z_])MILLRACE_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_]*[*{…])/g)) {
        named++;
        if (!known.has(name)) wrong.push(`${file}: ${name}`);
      }
    }
    expect(named).toBeGreaterThan(100);
    expect(wrong).toEqual([]);
  });

  test('holds no password and no image of whatever version', () => {
    for (const file of filesOf('deploy')) {
      expect(read(file), file).not.toMatch(/image:\s*\S+:latest\b/);
      // What examples show begins with "example", is a variable, or is left out.
      for (const [, password] of read(file).matchAll(/:\/\/[\w.-]*:([^@\s/'"]{1,80})@/g))
        expect(password, file).toMatch(/^(example-|%s|\$|…|<password>|password$)/);
    }
  });
});
