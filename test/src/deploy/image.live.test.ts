import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace } from '../millrace.ts';
import { ask, BUILD_MS_MAX, buildDeployTools, filesOf, missingDeployTools, ROOT, read } from './tools.ts';

const STEP_MS_MAX = 240_000;
const OUTPUT_BYTES_MAX = 16 * 2 ** 20;
const ROOT_USER = process.getuid?.() === 0;
/** nobody and nogroup of Debian. */
const NOBODY = 65534;
/** There is none in the registry: on arm64 a ClickHouse server is needed. When this changes, docs/deploy.md does too. */
const WITHOUT_ARM64 = ['@chdb/lib'];

interface Instruction {
  readonly name: string;
  readonly text: string;
}
interface Dockerfile {
  readonly stages: readonly {
    readonly name: string;
    readonly base: string;
    readonly instructions: readonly Instruction[];
  }[];
  readonly warnings: readonly string[];
}

const lastOf = (instructions: readonly Instruction[], name: string): string =>
  instructions.findLast((instruction) => instruction.name === name)?.text ?? '';

describe.skipIf(missingDeployTools !== null)(
  `the image${missingDeployTools === null ? '' : ` (${missingDeployTools})`}`,
  () => {
    let file: Dockerfile;
    let directory = '';
    const build = (): string => join(directory, 'build');
    const files = (): string[] =>
      execFileSync('find', ['.', '-name', 'node_modules', '-prune', '-o', '-type', 'f', '-print'], {
        cwd: build(),
        encoding: 'utf8',
      })
        .trim()
        .split('\n');

    beforeAll(async () => {
      await buildDeployTools();
      const told = ask<Dockerfile>(['dockerfile', join(ROOT, 'Dockerfile')]);
      if (told.value === null) throw new Error(told.problem);
      file = told.value;
      // Beside the checkout's volume, so that packages can be linked; another user must get in.
      directory = mkdtempSync('/var/tmp/millrace-image-');
      chmodSync(directory, 0o755);
    }, BUILD_MS_MAX);
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    test('has a Dockerfile that BuildKit understands, of one pinned base, for a user who is not root', () => {
      expect(file.warnings).toEqual([]);
      expect(new Set(file.stages.map(({ base }) => base))).toEqual(new Set(['node:20.20.2-bookworm-slim']));
      const instructions = file.stages.at(-1)?.instructions ?? [];
      expect(lastOf(instructions, 'USER')).toBe('USER 10001:10001');
      expect(lastOf(instructions, 'HEALTHCHECK')).toContain('healthy.mjs');
      // Node itself is process 1, and gets the signals.
      expect(lastOf(instructions, 'ENTRYPOINT')).toBe('ENTRYPOINT ["node", "/opt/millrace/app/bin/millrace.cjs"]');
      for (const { text } of instructions) expect(text).not.toMatch(/amd64|x86_64|arm64|aarch64/);
    });

    test(
      'is built by its steps from what the build gets, to what runs and nothing else',
      async () => {
        const context =
          ask<string[]>(['context', join(ROOT, '.dockerignore')], { input: filesOf('.').join('\n') }).value ?? [];
        expect(context).toContain('app/bin/millrace.cjs');
        expect(context.filter((name) => /\.test\.ts$|^test\/|^bench\/|^docs\/|\.env/.test(name))).toEqual([]);
        for (const name of context) {
          mkdirSync(dirname(join(build(), name)), { recursive: true });
          cpSync(join(ROOT, name), join(build(), name));
        }
        const steps = (file.stages[0]?.instructions ?? []).filter(({ name }) => name === 'RUN').map(({ text }) => text);
        const version = /^RUN npm install --global pnpm@([\d.]+)$/.exec(steps.shift() ?? '')?.[1];
        expect(version).toBeDefined();
        mkdirSync(join(directory, 'bin'));
        writeFileSync(join(directory, 'bin/pnpm'), `#!/bin/sh\nexec npx -y pnpm@${version} "$@"\n`, { mode: 0o755 });
        expect(steps.length).toBe(5);
        for (const step of steps) {
          const command = step.replace(/^RUN\s+(--\S+\s+)*/, '');
          // Rejects with what the step said when its exit code is another than 0.
          await promisify(execFile)('sh', ['-ec', command], {
            cwd: build(),
            timeout: STEP_MS_MAX,
            maxBuffer: OUTPUT_BYTES_MAX,
            env: { PATH: `${join(directory, 'bin')}:${process.env.PATH}`, HOME: process.env.HOME ?? '/', CI: 'true' },
          }).catch((error: { stdout?: string; stderr?: string }) => {
            throw new Error(`${command}\n${error.stdout}${error.stderr}`, { cause: error });
          });
        }
        const left = files();
        expect(left).toContain('./app/dist/main.js');
        expect(left.filter((name) => /\.(ts|map|tsbuildinfo|test\.js)$/.test(name))).toEqual([]);
        expect(left.filter((name) => name.includes('/src/') && !name.includes('NOTICE'))).toEqual([]);
        const packages = execFileSync('ls', [join(build(), 'node_modules/.pnpm')], { encoding: 'utf8' });
        expect(packages).toMatch(/^kafkajs@/m);
        expect(packages).not.toMatch(/^(typescript|vitest|@biomejs\+biome|tsx)@/m);
      },
      5 * STEP_MS_MAX,
    );

    test('has its native parts for arm64 too, but one', () => {
      const natives = execFileSync(
        'find',
        [
          'node_modules/.pnpm',
          '(',
          '-name',
          '*.node',
          '-o',
          '-name',
          '*.so',
          '-o',
          '-name',
          '*.so.[0-9]*',
          '-o',
          '-path',
          '*/native/bin/postgres',
          ')',
          '-type',
          'f',
        ],
        {
          cwd: build(),
          encoding: 'utf8',
        },
      );
      const owners = new Set(
        natives
          .trim()
          .split('\n')
          .map((path) => /node_modules\/\.pnpm\/[^/]+\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path),
      );
      expect(owners.size).toBeGreaterThan(5);
      const lockfile = read('pnpm-lock.yaml');
      const without = [...owners].filter((name) => {
        const twin = name.replace(`linux-${process.arch}`, process.arch === 'x64' ? 'linux-arm64' : 'linux-x64');
        return twin === name || !lockfile.includes(`'${twin}@`);
      });
      expect(without.map((name) => name.replace(/-linux-.*/, ''))).toEqual(WITHOUT_ARM64);
    });

    test('runs from it as another user, who can write nothing there, and ends when it is told to', async () => {
      const node = new Millrace({ NODE_ENV: 'production' });
      try {
        node.main = join(build(), 'app/bin/millrace.cjs');
        if (ROOT_USER) {
          chownSync(node.directory, NOBODY, NOBODY);
          node.launcher = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
        } else execFileSync('chmod', ['-R', 'a-w', build()]);
        await node.start();
        const { uid } = ROOT_USER ? { uid: NOBODY } : userInfo();
        expect(execFileSync('stat', ['-c', '%u', `/proc/${node.pid}`], { encoding: 'utf8' }).trim()).toBe(String(uid));
        expect((await fetch(`${node.url}/health/ready`)).status).toBe(200);
        const healthy = spawnSync(process.execPath, [join(build(), 'deploy/docker/healthy.mjs')], {
          env: { MILLRACE_DATA_DIR: node.directory },
          encoding: 'utf8',
        });
        expect(healthy).toMatchObject({ status: 0, stderr: '' });
        expect(await node.end('SIGTERM')).toBe(0);
        expect(existsSync(join(node.directory, 'run/ready.json'))).toBe(false);
      } finally {
        if (!ROOT_USER) execFileSync('chmod', ['-R', 'u+w', build()]);
        await node.dispose();
      }
    }, 180_000);
  },
);
