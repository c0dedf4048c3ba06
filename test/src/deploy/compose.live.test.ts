import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '@millrace/app/config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingOpenssl } from '../bridge/clients/certificates.ts';
import { ask, BUILD_MS_MAX, buildDeployTools, missingDeployTools, ROOT, read } from './tools.ts';

const HERE = join(ROOT, 'deploy/compose');
const without = missingDeployTools ?? missingOpenssl;

interface Service {
  readonly image?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly { readonly host_ip?: string; readonly target: number; readonly published?: string }[];
  readonly networks?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly {
    readonly type: string;
    readonly source: string;
    readonly target: string;
    readonly read_only?: boolean;
  }[];
  readonly secrets?: readonly { readonly source: string }[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly restart?: string;
  readonly read_only?: boolean;
  readonly privileged?: boolean;
  readonly cap_drop?: readonly string[];
  readonly profiles?: readonly string[];
  readonly deploy?: {
    readonly replicas?: number;
    readonly resources?: { readonly limits?: { readonly memory?: string } };
  };
}
interface Project {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

describe.skipIf(without !== null)(`compose.yaml${without === null ? '' : ` (${without})`}`, () => {
  let project: Project;
  let services: readonly (readonly [string, Service])[] = [];
  const millrace = (): (readonly [string, Service])[] =>
    services.filter(([, { image }]) => image?.startsWith('millrace:'));
  let parent = '';
  let directory = '';

  beforeAll(async () => {
    await buildDeployTools();
    parent = mkdtempSync(join(tmpdir(), 'millrace-compose-'));
    directory = join(parent, 'compose');
    mkdirSync(directory);
    const told = ask<Project>(['compose', join(HERE, 'compose.yaml'), 'valkey', 'chirpstack']);
    if (told.value === null) throw new Error(told.problem);
    project = told.value;
    services = Object.entries(project.services);
  }, BUILD_MS_MAX);
  afterAll(() => rmSync(parent, { recursive: true, force: true }));

  test('is a cluster: two nodes of each road, three brokers, a store of two shards with two replicas', () => {
    const roles = millrace().flatMap(([, { environment, deploy }]) =>
      Array<string>(deploy?.replicas ?? 1).fill(environment?.MILLRACE_ROLES ?? ''),
    );
    expect(roles.sort()).toEqual(['ingest,registry', 'ingest,registry', 'processors', 'processors', 'registry']);
    const named = (prefix: string): number => services.filter(([name]) => name.startsWith(prefix)).length;
    expect(named('kafka-')).toBe(3);
    expect(named('clickhouse-')).toBe(4);
    const on = services.filter(([, { profiles }]) => (profiles ?? []).length === 0).map(([name]) => name);
    expect(on).toEqual(expect.arrayContaining(['nginx', 'postgres', 'prometheus', 'grafana']));
    expect(on.some((name) => /valkey|chirpstack|mosquitto/.test(name))).toBe(false);
  });

  test('limits, restarts and watches each of its programs, at a version that is named', () => {
    for (const [name, service] of services) {
      expect(service.image, name).toMatch(/:[\w.-]*\d[\w.-]*$/);
      expect(service.restart, name).toBe('unless-stopped');
      expect(service.deploy?.resources?.limits?.memory, name).toBeTruthy();
      expect(
        service.healthcheck?.test.length ?? (service.image?.startsWith('millrace:') ? 1 : 0),
        name,
      ).toBeGreaterThan(0);
      expect(service.privileged ?? false, name).toBe(false);
      for (const { condition } of Object.values(service.depends_on ?? {}))
        expect(condition, name).toBe('service_healthy');
    }
    for (const [name, service] of millrace()) {
      expect(service.read_only, name).toBe(true);
      expect(service.cap_drop, name).toEqual(['ALL']);
    }
  });

  test('publishes on the loopback alone, and of the road only nginx', () => {
    const published = services.filter(([, { ports }]) => (ports ?? []).length > 0);
    for (const [name, { ports }] of published)
      for (const port of ports ?? []) expect(port.host_ip, name).toBe('127.0.0.1');
    const open = published.filter(([, { profiles }]) => (profiles ?? []).length === 0).map(([name]) => name);
    expect(open.sort()).toEqual(['grafana', 'nginx']);
    expect(project.networks.inner?.internal).toBe(true);
    for (const [name, { networks }] of services)
      if (/^(kafka|clickhouse|keeper|postgres|valkey)/.test(name))
        expect(Object.keys(networks ?? {}), name).toEqual(['inner']);
  });

  test('is opened by one variable', () => {
    const told = ask<Project>(['compose', join(HERE, 'compose.yaml')], {
      environment: { MILLRACE_BIND: '0.0.0.0', MILLRACE_HTTPS_PUBLISHED: '443' },
    });
    expect(told.value?.services.nginx?.ports?.[0]).toMatchObject({ host_ip: '0.0.0.0', published: '443', target: 443 });
    expect(told.value?.services.grafana?.ports?.[0]).toMatchObject({ host_ip: '127.0.0.1' });
  });

  test('mounts files that there are, read-only, and keeps the rest in volumes with a name', () => {
    for (const [name, { volumes }] of services)
      for (const { type, source, read_only } of volumes ?? []) {
        if (type === 'volume') expect(project.volumes, name).toHaveProperty(source);
        if (type !== 'bind') continue;
        expect(read_only, `${name}: ${source}`).toBe(true);
        // Made by ./init.
        if (source.startsWith(join(HERE, 'private'))) continue;
        expect(existsSync(source), `${name}: ${source}`).toBe(true);
      }
  });

  test('passes no secret in the environment', () => {
    for (const [name, { environment }] of services)
      for (const [variable, value] of Object.entries(environment ?? {})) {
        expect(value ?? '', `${name} ${variable}`).not.toMatch(/:\/\/[^/]*:[^/]*@/);
        if (/PASSWORD|SECRET/.test(variable)) expect(value, `${name} ${variable}`).toMatch(/^\/run\/secrets\//);
      }
  });

  test('finds all that it names in what ./init makes, which nobody else may read', () => {
    copyFileSync(join(HERE, 'init'), join(directory, 'init'));
    chmodSync(join(directory, 'init'), 0o755);
    execFileSync('./init', ['--valkey'], { cwd: directory });
    const made = join(directory, 'private');
    expect(statSync(made).mode & 0o777).toBe(0o700);
    for (const { file } of Object.values(project.secrets)) {
      const own = file.replace(HERE, directory);
      // Its program is another user inside the container.
      expect(statSync(own).mode & 0o444, own).toBe(0o444);
    }
    for (const [, { volumes }] of services)
      for (const { type, source } of volumes ?? [])
        if (type === 'bind' && source.startsWith(join(HERE, 'private')))
          expect(existsSync(source.replace(HERE, directory)), source).toBe(true);
    const env = readFileSync(join(made, 'clickhouse.env'), 'utf8');
    for (const [, name] of (
      read('deploy/clickhouse/config.d/millrace.xml') +
      read('deploy/clickhouse/users.d/millrace.xml') +
      read('deploy/clickhouse/users.d/grafana.xml')
    ).matchAll(/from_env="(\w+)"/g))
      if (!/SHARD|REPLICA/.test(name ?? '')) expect(env).toMatch(new RegExp(`^${name}=[0-9a-f]{64}$`, 'm'));
    const toml = readFileSync(join(made, 'millrace.toml'), 'utf8');
    for (const name of readdirSync(made))
      if (name !== 'certs' && name !== 'millrace.toml') expect(readFileSync(join(made, name), 'utf8')).not.toBe('');

    // A node understands it, together with its environment of compose.yaml.
    for (const [, { environment }] of millrace()) {
      const config = loadConfig({ ...environment, MILLRACE_CONFIG: join(made, 'millrace.toml') });
      expect(config.node.MILLRACE_SECRET).toMatch(/^[0-9a-f]{64}$/);
      expect(config.registry.MILLRACE_POSTGRES_URL).toContain('@postgres:5432/millrace');
      expect(String(config.storage.MILLRACE_CLICKHOUSE_URL)).toContain('@clickhouse-2-2:8123');
      expect(config.storage.MILLRACE_CLICKHOUSE_CLUSTER).toBe('millrace');
      expect(config.registry.MILLRACE_ADMIN_PASSWORD?.length).toBe(24);
    }

    // Once: what devices' keys are kept with must not change.
    expect(spawnSync('./init', [], { cwd: directory, encoding: 'utf8' })).toMatchObject({ status: 0, stdout: '' });
    expect(readFileSync(join(made, 'millrace.toml'), 'utf8')).toBe(toml);

    // One that an older init made gets what Grafana's data sources need, once.
    for (const name of ['grafana-api-key', 'grafana-clickhouse-password']) rmSync(join(made, name));
    for (let round = 0; round < 2; round++) execFileSync('./init', [], { cwd: directory, stdio: 'ignore' });
    const renewed = readFileSync(join(made, 'clickhouse.env'), 'utf8');
    expect(renewed.startsWith(env)).toBe(true);
    expect(renewed.slice(env.length)).toMatch(/^MILLRACE_GRAFANA_PASSWORD_SHA256=[0-9a-f]{64}\n$/);
    expect(readFileSync(join(made, 'grafana-api-key'), 'utf8')).toBe('none');
  });
});
