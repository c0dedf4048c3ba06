import { randomUUID } from 'node:crypto';
import { type CodecRunner, createLogger, createMetrics, type Started } from '@millrace/core';
import { CodecsConfig, codecRunner } from '@millrace/processors';
import { createControlPlane } from '@millrace/registry';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addMember, idOf, made, orgOf } from './access-world.ts';
import { leaves } from './audited.ts';
import { Asker, type ControlPlane, NO_STORE, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

const CODECS_MAX = 6;
const SCRIPT = `function decodeUplink({ bytes, fPort, variables }) {
  console.log('port', fPort);
  return { data: { temperature: bytes[0] / Number(variables.divisor ?? 1) }, warnings: ['a draft'] };
}
function encodeDownlink({ data }) {
  return { bytes: [data.open ? 1 : 0], fPort: 3 };
}`;

describe('codecs', () => {
  let plane: ControlPlane;
  let here: Node;
  let there: Node;
  let runner: Started<CodecRunner>;
  let owner: Asker;
  let org: string;

  beforeAll(async () => {
    plane = await startControlPlane();
    const settings = { MILLRACE_CODECS_PER_ORG_MAX: CODECS_MAX };
    here = await plane.node(settings);
    there = await plane.node(settings);
    const options = { metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
    runner = await codecRunner(CodecsConfig.parse({ MILLRACE_CODECS_MS_MAX: 500 }), options).start();
  }, 120_000);
  beforeEach(async () => {
    owner = await here.stranger.newUser(`${randomUUID()}@example.org`);
    org = await orgOf(owner);
  });
  afterAll(async () => {
    await runner?.stop();
    await plane?.dispose();
  }, 60_000);

  /** The same control plane with a fresh count of tries, and with a runner. */
  const trying = (who: Asker, codecs: CodecRunner | null = runner.value): Asker => {
    const { registry, gate } = here;
    const more = { metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
    const handler = createControlPlane({
      registry,
      gate,
      store: NO_STORE,
      selfRegister: false,
      version: '1.2.3',
      codecs,
      ...more,
    });
    return new Asker(handler, who.headers);
  };
  const body = (more: object = {}) => ({ name: `codec ${randomUUID()}`, kind: 'javascript', script: SCRIPT, ...more });
  const codec = (more: object = {}) => made(owner, '/codecs', body(more));
  const member = async (role: string): Promise<Asker> => {
    const one = await here.stranger.newUser(`${randomUUID()}@example.org`);
    await addMember(plane, org, await idOf(one), role);
    return one;
  };

  test('are made, read, listed without their scripts, changed and deleted', async () => {
    const { status, headers, body: made } = await owner.call('POST', '/codecs', body({ name: 'Door' }));
    expect([status, headers.get('etag'), headers.get('location')]).toEqual([201, '"1"', `/codecs/${made.id}`]);
    expect(made).toMatchObject({
      org,
      name: 'Door',
      kind: 'javascript',
      script: SCRIPT,
      device_profiles: [],
      version: 1,
    });
    expect((await owner.call('GET', `/codecs/${made.id}`)).body).toEqual(made);
    const cayenne = await codec({ name: 'Built in', kind: 'cayenne-lpp', script: undefined });
    expect(cayenne.script).toBe('');
    const { body: listed } = await owner.call('GET', '/codecs?order=name&dir=asc');
    expect(listed.codecs.map(({ name }: { name: string }) => name)).toEqual(['Built in', 'Door']);
    expect(JSON.stringify(listed)).not.toContain('decodeUplink');
    const patch = { script: 'function decodeUplink() {}', device_profiles: ['door-v2'], description: 'of doors' };
    const changed = await owner.call('PATCH', `/codecs/${made.id}`, patch, { 'if-match': '"1"' });
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"']);
    expect(changed.body).toMatchObject({ ...patch, name: 'Door', version: 2 });
    expect((await owner.call('PATCH', `/codecs/${made.id}`, { name: 'x' }, { 'if-match': '"1"' })).status).toBe(412);
    expect((await owner.call('DELETE', `/codecs/${made.id}`, undefined, { 'if-match': '"1"' })).status).toBe(412);
    expect((await owner.call('DELETE', `/codecs/${made.id}`)).status).toBe(204);
    expect((await owner.call('GET', `/codecs/${made.id}`)).status).toBe(404);
  });

  test('leave in the audit who changed what', async () => {
    let id = '';
    const left = await leaves(plane, here, async () => {
      id = (await codec()).id;
      await owner.call('PATCH', `/codecs/${id}`, { script: `${SCRIPT}\n`, device_profiles: ['lht65'] });
      await owner.call('DELETE', `/codecs/${id}`);
    });
    expect(left.map(({ action, entity_id, actor_kind }) => [action, entity_id, actor_kind])).toEqual([
      ['codecs.create', id, 'user'],
      ['codecs.update', id, 'user'],
      ['codecs.delete', id, 'user'],
    ]);
    expect(Object.keys(left[1]?.detail.changed ?? {}).toSorted()).toEqual(['device_profiles', 'script']);
  });

  test('are found by devices on the other node as soon as they are made or changed', async () => {
    const heard: string[] = [];
    const end = there.registry.lora.onChange(({ kind, id }) => heard.push(`${kind} ${id}`));
    const { id } = await codec({ device_profiles: ['lht65'] });
    await eventually(() => heard.includes(`devices ${id}`));
    expect(await there.registry.lora.codec(org, null, ['lht65'])).toMatchObject({ id, version: 1, script: SCRIPT });
    heard.length = 0;
    await owner.call('PATCH', `/codecs/${id}`, { script: 'function decodeUplink() {}' });
    await eventually(() => heard.includes(`devices ${id}`));
    end();
    expect(await there.registry.lora.codec(org, null, ['lht65'])).toMatchObject({ id, version: 2 });
  });

  test.each([
    [{ name: '' }, 'name'],
    [{ name: 'x', kind: 'python' }, 'kind'],
    [{ script: '' }, 'script'],
    [{ script: undefined }, 'script'],
    [{ kind: 'cayenne-lpp' }, 'script'],
    [{ script: 'é'.repeat(40_000) }, 'script'],
    [{ script: 'a\0b' }, 'script'],
    [{ device_profiles: [''] }, 'device_profiles'],
    [{ device_profiles: Array.from({ length: 101 }, String) }, 'device_profiles'],
    [{ enabled: true }, 'enabled'],
  ])('are refused that can not be: %j', async (more, path) => {
    const { status, body: told } = await owner.call('POST', '/codecs', body(more));
    expect([status, told.detail]).toEqual([422, expect.stringContaining(path)]);
  });

  test('keep a script when a change empties it of a codec that needs one', async () => {
    const { id } = await codec();
    expect((await owner.call('PATCH', `/codecs/${id}`, { script: ' ' })).status).toBe(422);
    expect((await owner.call('GET', `/codecs/${id}`)).body.script).toBe(SCRIPT);
  });

  test('have names of their own in an organisation, and are as many as it may have', async () => {
    const one = await codec();
    expect((await owner.call('POST', '/codecs', body({ name: one.name }))).status).toBe(409);
    const all = await Promise.all(Array.from({ length: CODECS_MAX * 2 }, () => owner.call('POST', '/codecs', body())));
    expect(all.filter(({ status }) => status === 201)).toHaveLength(CODECS_MAX - 1);
    expect(all.filter(({ status }) => status === 409)).toHaveLength(CODECS_MAX + 1);
  });

  test('that things or channels name go only with ?cascade=true', async () => {
    const { id, name } = await codec();
    await made(owner, '/things', { metadata: { lora: { codec: id } } });
    await made(owner, '/channels', { metadata: { lora: { codec: name, app_id: 1 } } });
    const kept = await owner.call('DELETE', `/codecs/${id}`);
    expect([kept.status, kept.body.detail]).toEqual([409, expect.stringContaining('things 1, channels 1')]);
    expect((await owner.call('DELETE', `/codecs/${id}?cascade=true`)).status).toBe(204);
  });

  test('are given another name than that by which things call them only with ?cascade=true', async () => {
    const { id, name } = await codec();
    const other = `${name} of late`;
    const thing = await made(owner, '/things', { metadata: { lora: { codec: name } } });
    await made(owner, '/things', { metadata: { lora: { codec: id } } });
    const kept = await owner.call('PATCH', `/codecs/${id}`, { name: other });
    expect([kept.status, kept.body.detail]).toEqual([422, expect.stringContaining('things 1, channels 0')]);
    expect((await owner.call('PATCH', `/codecs/${id}`, { name, description: 'as before' })).status).toBe(200);
    expect((await owner.call('PATCH', `/codecs/${id}?cascade=true`, { name: other })).body.name).toBe(other);
    await owner.call('PATCH', `/things/${thing.id}`, { metadata: { lora: { codec: id } } });
    expect((await owner.call('PATCH', `/codecs/${id}`, { name })).body.name).toBe(name);
  });

  test('are for editors to make, for viewers to look at, and unknown to others', async () => {
    const { id } = await codec();
    const [editor, viewer] = [await member('editor'), await member('viewer')];
    const stranger = await here.stranger.newUser(`${randomUUID()}@example.org`);
    const draft = { kind: 'javascript', script: SCRIPT, direction: 'up', bytes: '01' };
    const asked = async (who: Asker): Promise<number[]> => [
      (await who.call('GET', `/codecs?org=${org}`)).status,
      (await who.call('GET', `/codecs/${id}`)).status,
      (await trying(who).call('POST', '/codecs/test', { codec: id, direction: 'up', bytes: '01' })).status,
      (await who.call('PATCH', `/codecs/${id}`, { description: 'x' })).status,
      (await who.call('POST', `/codecs?org=${org}`, body())).status,
      (await trying(who).call('POST', `/codecs/test?org=${org}`, draft)).status,
    ];
    expect(await asked(editor)).toEqual([200, 200, 200, 200, 201, 200]);
    expect(await asked(viewer)).toEqual([200, 200, 200, 403, 403, 403]);
    expect(await asked(stranger)).toEqual([404, 404, 404, 404, 404, 404]);
    expect(await asked(here.stranger)).toEqual([401, 401, 401, 401, 401, 401]);
    expect((await viewer.call('DELETE', `/codecs/${id}`)).status).toBe(403);
    expect((await stranger.call('DELETE', `/codecs/${id}`)).status).toBe(404);
  });

  describe('that are tried', () => {
    const draft = (script: string, more: object = {}) =>
      trying(owner).call('POST', '/codecs/test', { kind: 'javascript', script, direction: 'up', bytes: '2a', ...more });

    test.each([
      ['hex', { bytes: '2A01' }],
      ['base64', { bytes: 'KgE=' }],
      ['base64 that might be hex', { bytes: 'KgEA', encoding: 'base64' }],
    ])('tell what they make of an uplink that is given as %s', async (_, given) => {
      const { id } = await codec();
      const more = { direction: 'up', f_port: 7, variables: { divisor: '2' }, ...given };
      const { status, body: answer } = await trying(owner).call('POST', '/codecs/test', { codec: id, ...more });
      expect(status, JSON.stringify(answer)).toBe(200);
      const { took_ms, ...rest } = answer;
      expect(took_ms).toBeGreaterThanOrEqual(0);
      expect(rest).toEqual({
        data: { temperature: 21 },
        f_port: null,
        warnings: ['a draft'],
        errors: [],
        logs: [expect.stringContaining('port 7')],
      });
    });

    test('tell what they make of a downlink', async () => {
      const { body: answer } = await draft(SCRIPT, { direction: 'down', bytes: undefined, data: { open: true } });
      expect(answer).toMatchObject({ bytes: '01', f_port: 3, errors: [] });
    });

    test('tell by errors, with the line, what a script does wrong', async () => {
      const thrown = await draft('function decodeUplink({ bytes }) {\n  return bytes.nothing.at(0);\n}');
      expect([thrown.status, thrown.body.errors.join(' ')]).toEqual([200, expect.stringMatching(/\b2\b/)]);
      expect(thrown.body).not.toHaveProperty('data');
      const unparsed = await draft('function decodeUplink( {');
      expect([unparsed.status, unparsed.body.errors.length]).toEqual([200, 1]);
      const endless = await draft('function decodeUplink() { for (;;); }');
      expect([endless.status, endless.body.errors.length]).toEqual([200, 1]);
    });

    test('are refused without what they need', async () => {
      const tried = async (given: object) => (await trying(owner).call('POST', '/codecs/test', given)).status;
      const { id } = await codec();
      for (const wrong of [
        { direction: 'up', bytes: '00' },
        { codec: id, kind: 'javascript', script: SCRIPT, direction: 'up', bytes: '00' },
        { codec: id, direction: 'up' },
        { codec: id, direction: 'up', bytes: 'not bytes!' },
        { codec: id, direction: 'up', bytes: 'KgE=', encoding: 'hex' },
        { codec: id, direction: 'up', bytes: '00'.repeat(5_000) },
        { codec: id, direction: 'down', bytes: '00' },
        { codec: id, direction: 'up', bytes: '00', f_port: 256 },
        { codec: id, direction: 'up', bytes: '00', variables: { a: 1 } },
        { kind: 'javascript', direction: 'up', bytes: '00' },
      ])
        expect(await tried(wrong), JSON.stringify(wrong)).toBe(422);
      expect(await tried({ codec: randomUUID(), direction: 'up', bytes: '00' })).toBe(404);
    });

    test('wait when there is no end of tries, and are told 503 by a node that runs none', async () => {
      const { id } = await codec({ kind: 'cayenne-lpp', script: undefined });
      const given = { codec: id, direction: 'up', bytes: '00' };
      const asker = trying(owner);
      const statuses: number[] = [];
      // Many at once: some are forgiven for each half of a second, however slow the machine is.
      for (let round = 0; round < 20 && !statuses.includes(429); round++) {
        const tries = Array.from({ length: 20 }, () => asker.call('POST', '/codecs/test', given));
        statuses.push(...(await Promise.all(tries)).map(({ status }) => status));
      }
      expect(new Set(statuses)).toEqual(new Set([200, 429]));
      const without = await trying(owner, null).call('POST', '/codecs/test', given);
      expect([without.status, without.headers.get('retry-after')]).toEqual([503, '60']);
    });
  });
});
