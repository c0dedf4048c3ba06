import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connectionOf, saveProfile } from './commands/control/profiles.ts';
import { loadConfig, SECTIONS } from './config.ts';
import { PROFILES, profileDefaults } from './profile.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-profile-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

describe('a profile of a node', () => {
  test('names settings that there are, each with another value than the usual one, and one that is taken', () => {
    const known = new Map(Object.values(SECTIONS).flatMap((schema) => Object.entries(schema.shape)));
    const usual = Object.assign({}, ...Object.values(loadConfig({}, directory)));
    for (const [name, value] of Object.entries(PROFILES.small)) {
      expect(known.has(name), name).toBe(true);
      // On one core, or two, one thread is the usual number.
      if (name !== 'MILLRACE_PROCESSOR_THREADS') expect(String(usual[name]), name).not.toBe(value);
    }
    const small = Object.assign({}, ...Object.values(loadConfig({ MILLRACE_PROFILE: 'small' }, directory)));
    for (const [name, value] of Object.entries(PROFILES.small)) expect(String(small[name]), name).toBe(value);
  });

  test('is only other defaults: the environment and the file go before it', () => {
    writeFileSync(join(directory, 'millrace.toml'), '[mqtt]\nconnections_max = 77\n[batch]\nlinger_ms = 5\n');
    const environment = { MILLRACE_PROFILE: 'small', MILLRACE_BATCH_LINGER_MS: '6' };
    const config = loadConfig(environment, directory);
    expect(config.mqtt.MILLRACE_MQTT_CONNECTIONS_MAX).toBe(77);
    expect(config.processors.MILLRACE_BATCH_LINGER_MS).toBe(6);
    expect(config.storage.MILLRACE_STORE_INSERTS_MAX).toBe(1);
  });

  test('may be named by the file, or by none', () => {
    writeFileSync(join(directory, 'millrace.toml'), 'profile = "small"\n');
    expect(loadConfig({}, directory).storage.MILLRACE_STORE_INSERTS_MAX).toBe(1);
    expect(loadConfig({ MILLRACE_PROFILE: '' }, directory).node.MILLRACE_PROFILE).toBe('small');
    expect(profileDefaults(undefined)).toEqual({});
  });

  test.each(['home', 'toString', '__proto__'])(
    'that there is none of is told with what takes its place: %s',
    (name) => {
      try {
        loadConfig({ MILLRACE_PROFILE: name }, directory);
        expect.unreachable();
      } catch (error) {
        const problems = error instanceof ConfigError ? error.problems : [];
        expect(problems.join()).toContain(name);
        expect(problems.join()).toContain('MILLRACE_LOGIN_PROFILE');
      }
    },
  );
});

describe('the login that commands use', () => {
  beforeEach(() => {
    vi.stubEnv('XDG_CONFIG_HOME', directory);
    vi.stubEnv('MILLRACE_DATA_DIR', join(directory, 'none'));
    for (const name of ['MILLRACE_URL', 'MILLRACE_TOKEN', 'MILLRACE_PROFILE', 'MILLRACE_LOGIN_PROFILE'])
      vi.stubEnv(name, '');
    saveProfile('work', { url: 'https://work.example' }, true);
    saveProfile('home', { url: 'https://home.example' }, false);
  });

  test('is named by MILLRACE_LOGIN_PROFILE, and the profile of a node says nothing of it', () => {
    vi.stubEnv('MILLRACE_PROFILE', 'small');
    expect(connectionOf({}).url).toBe('https://work.example');
    vi.stubEnv('MILLRACE_LOGIN_PROFILE', 'home');
    expect(connectionOf({}).url).toBe('https://home.example');
  });

  test('is not guessed while its former variable names one: that could be another server', () => {
    vi.stubEnv('MILLRACE_PROFILE', 'home');
    expect(() => connectionOf({})).toThrow('MILLRACE_LOGIN_PROFILE');
    vi.stubEnv('MILLRACE_LOGIN_PROFILE', 'work');
    expect(connectionOf({}).url).toBe('https://work.example');
    vi.stubEnv('MILLRACE_LOGIN_PROFILE', '');
    expect(connectionOf({ profile: 'work' }).url).toBe('https://work.example');
  });
});
