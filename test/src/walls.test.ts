import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = new URL('../../', import.meta.url).pathname;
const ROOMS = ['core', 'log', 'policy', 'registry', 'ingest', 'processors', 'storage'];

/** Which rooms a room may name. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(ROOMS.map((room) => [room, room === 'core' ? [] : ['core']])),
  app: [...ROOMS, 'sdk'],
  'sdk/js': [],
};

function sources(directory: string): string[] {
  return readdirSync(directory, { recursive: true })
    .map(String)
    .filter((name) => /\.m?ts$/.test(name))
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());
}

const imports = (path: string): string[] =>
  [...readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] as string);

describe('walls between the rooms', () => {
  test.each(Object.keys(MAY_IMPORT))('%s names no room that it must not know', (room) => {
    const files = sources(join(root, room, 'src'));
    expect(files.length).toBeGreaterThan(0);
    const trespasses = files.flatMap((path) =>
      imports(path)
        .filter((name) => name.startsWith('@millrace/'))
        .filter((name) => {
          const other = name.split('/')[1] as string;
          return other !== room.split('/')[0] && !(MAY_IMPORT[room] as readonly string[]).includes(other);
        })
        .map((name) => `${path.slice(root.length)} imports ${name}`),
    );
    expect(trespasses).toEqual([]);
  });

  test('nobody climbs out of a room by a relative path', () => {
    const trespasses = [...ROOMS, 'app', 'sdk/js'].flatMap((room) =>
      sources(join(root, room, 'src')).flatMap((path) =>
        imports(path)
          .filter((name) => name.startsWith('.'))
          .filter((name) => !join(path, '..', name).startsWith(`${join(root, room)}/`))
          .map((name) => `${path.slice(root.length)} imports ${name}`),
      ),
    );
    expect(trespasses).toEqual([]);
  });

  test('the commands that ask a node know the client alone: no help waits for the rooms of the server', () => {
    const commands = ['control', 'program.ts', 'cli-page.ts'].map((name) => join(root, 'app', 'src', 'commands', name));
    const files = commands.flatMap((path) => (path.endsWith('.ts') ? [path] : sources(path)));
    expect(files.length).toBeGreaterThan(10);
    const trespasses = files.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/^import (?!type ).*? from '(@millrace\/[^']+)'/gms)]
        .map((match) => match[1])
        .filter((name) => name !== '@millrace/sdk')
        .map((name) => `${path.slice(root.length)} imports ${name}`),
    );
    expect(trespasses).toEqual([]);
  });

  test('only app reads the environment and knows signals', () => {
    const trespasses = ROOMS.flatMap((room) => sources(join(root, room, 'src')))
      .filter((path) => !/\.test\.ts$|\.bench\.ts$|\/testing\//.test(path))
      .filter((path) => /process\.(env\b|on\(\s*'SIG|once\(\s*'SIG)/.test(readFileSync(path, 'utf8')))
      .map((path) => path.slice(root.length));
    expect(trespasses).toEqual([]);
  });

  test('sdk names nothing of Node: it runs in browsers too', () => {
    const trespasses = sources(join(root, 'sdk', 'js', 'src'))
      .filter((path) => !path.endsWith('.test.ts'))
      .flatMap((path) =>
        imports(path)
          .filter((name) => name.startsWith('node:'))
          .map((name) => `${path.slice(root.length)} imports ${name}`),
      );
    expect(trespasses).toEqual([]);
  });

  test('core does no I/O', () => {
    const io = /^(node:)?(fs|net|http|https|tls|dgram|child_process|worker_threads)(\/|$)/;
    const trespasses = sources(join(root, 'core', 'src'))
      .filter((path) => !path.endsWith('.test.ts'))
      .flatMap((path) =>
        imports(path)
          .filter((name) => io.test(name))
          .map((name) => `${path.slice(root.length)} imports ${name}`),
      );
    expect(trespasses).toEqual([]);
  });
});
