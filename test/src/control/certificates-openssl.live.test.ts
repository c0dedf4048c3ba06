import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CertificateMaker, missingOpenssl } from '../bridge/clients/certificates.ts';
import { runToEnd } from '../bridge/clients/program.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

const NOTHING = Buffer.alloc(0);
const openssl = (...words: readonly string[]): Promise<string> => runToEnd(['openssl', ...words], NOTHING);

describe.skipIf(missingOpenssl !== null)(
  `what OpenSSL says of our certificates (${missingOpenssl ?? 'it is here'})`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-openssl-'));
    let plane: ControlPlane;
    let node: Node;
    let admin: Asker;
    let org: string;
    let thing: string;
    let root: string;
    let chain: string;

    const file = (name: string, content: string | Uint8Array): string => {
      const path = join(directory, `${randomBytes(6).toString('hex')}-${name}`);
      writeFileSync(path, content);
      return path;
    };
    const bytes = async (path: string): Promise<Buffer> => {
      const response = await node.stranger.raw('GET', path.replace('http://localhost', ''));
      expect(response.status).toBe(200);
      return Buffer.from(await response.arrayBuffer());
    };
    const issue = async (more: object = {}) => {
      const { status, body } = await admin.call('POST', '/certs', { thing_id: thing, ...more });
      expect(status, JSON.stringify(body)).toBe(201);
      return { ...body, file: file('leaf.pem', body.certificate) } as {
        serial: string;
        certificate: string;
        chain: string;
        private_key: string;
        file: string;
      };
    };
    /** Where a certificate says that its list is. */
    const pointsTo = async (pem: string, name: RegExp): Promise<string> => {
      const text = await openssl('x509', '-in', pem, '-noout', '-text');
      return name.exec(text)?.[1] ?? `none in ${text}`;
    };
    /** Asks by a real client's request; checks the answer with that client.  @returns what it says of each */
    const ask = async (certificates: readonly string[], ...more: readonly string[]): Promise<string> => {
      const [request, response] = [file('request.der', ''), file('response.der', '')];
      const about = ['-issuer', file('issuer.pem', intermediate()), ...certificates.flatMap((one) => ['-cert', one])];
      await openssl('ocsp', ...about, ...more, '-reqout', request);
      const answer = await node.stranger.raw('POST', '/certs/ocsp', readFileSync(request), {
        'content-type': 'application/ocsp-request',
      });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/ocsp-response']);
      writeFileSync(response, Buffer.from(await answer.arrayBuffer()));
      // Compares the nonces; with certificates given it would make a request of its own, with another nonce.
      await openssl('ocsp', '-reqin', request, '-respin', response, '-CAfile', root);
      const names = more.filter((word) => word !== '-nonce');
      return openssl('ocsp', ...about, ...names, '-no_nonce', '-respin', response, '-CAfile', root);
    };
    const intermediate = (): string =>
      `${readFileSync(chain, 'utf8').split('-----END CERTIFICATE-----')[0]}-----END CERTIFICATE-----\n`;

    beforeAll(async () => {
      plane = await startControlPlane();
      node = await plane.node();
      admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
      const made = await admin.call('POST', '/things', { name: 'pump' });
      expect(made.status, JSON.stringify(made.body)).toBe(201);
      ({ id: thing, org } = made.body);
      root = file('root.pem', await bytes('/certs/ca'));
      chain = file('chain.pem', await (await admin.raw('GET', `/certs/ca?org=${org}`)).text());
    }, 120_000);
    afterAll(async () => {
      await plane?.dispose();
      rmSync(directory, { recursive: true, force: true });
    }, 60_000);

    test('a certificate is good for a client, by its chain, and its key is its own', async () => {
      for (const [more, algorithm] of [
        [{}, 'id-ecPublicKey'],
        [{ key_type: 'ec', key_bits: 384 }, 'secp384r1'],
        [{ key_type: 'rsa', key_bits: 2048 }, 'rsaEncryption'],
        [{ key_type: 'ed25519' }, 'ED25519'],
      ] as const) {
        const leaf = await issue(more);
        const verify = ['-x509_strict', '-CAfile', root, '-untrusted', chain];
        expect(await openssl('verify', ...verify, '-purpose', 'sslclient', leaf.file)).toContain('OK');
        await expect(openssl('verify', ...verify, '-purpose', 'sslserver', leaf.file)).rejects.toThrow();
        const text = await openssl('x509', '-in', leaf.file, '-noout', '-text');
        expect(text).toContain(algorithm);
        expect(text).toContain(`URI:urn:uuid:${thing}`);
        expect(text).toMatch(new RegExp(`Subject: CN *= *${thing}`));
        const key = file('leaf.key', leaf.private_key);
        const ofKey = await openssl('pkey', '-in', key, '-pubout');
        expect(await openssl('x509', '-in', leaf.file, '-noout', '-pubkey')).toBe(ofKey);
      }
    }, 60_000);

    test('what it says of where to look is there', async () => {
      const leaf = await issue();
      const issuer = await bytes(await pointsTo(leaf.file, /CA Issuers - URI:(\S+)/));
      expect(new X509Certificate(leaf.certificate).checkIssued(new X509Certificate(issuer))).toBe(true);
      expect(await pointsTo(leaf.file, /OCSP - URI:(\S+)/)).toBe('http://localhost/certs/ocsp');
      expect(
        (await bytes(await pointsTo(leaf.file, /CRL Distribution Points:[\s\S]*?URI:(\S+)/))).length,
      ).toBeGreaterThan(0);
    });

    test('a certificate on the list is refused, others are not; the number of the list goes up', async () => {
      const [good, bad] = [await issue(), await issue()];
      const where = await pointsTo(good.file, /CRL Distribution Points:[\s\S]*?URI:(\S+)/);
      const pem = async (der: Buffer): Promise<string> => {
        const path = file('list.pem', '');
        await openssl('crl', '-inform', 'DER', '-in', file('list.crl', der), '-out', path);
        return path;
      };
      const check = async (leaf: string): Promise<string> => {
        const lists = [await pem(await bytes('/certs/crl')), await pem(await bytes(where))];
        const both = file('lists.pem', lists.map((list) => readFileSync(list, 'utf8')).join(''));
        return openssl('verify', '-CAfile', root, '-untrusted', chain, '-CRLfile', both, '-crl_check_all', leaf);
      };
      const numberOf = async (): Promise<number> => {
        const text = await openssl(
          'crl',
          '-inform',
          'DER',
          '-in',
          file('list.crl', await bytes(where)),
          '-noout',
          '-crlnumber',
        );
        return Number(text.trim().split('=')[1]);
      };
      expect(await check(bad.file)).toContain('OK');
      const before = await numberOf();
      expect(await numberOf(), 'nothing changed').toBe(before);
      const { body } = await admin.call('POST', `/certs/${bad.serial}/revoke`, { reason: 'keyCompromise' });
      expect([body.status, body.reason]).toEqual(['revoked', 'keyCompromise']);
      await expect(check(bad.file)).rejects.toThrow('certificate revoked');
      expect(await check(good.file)).toContain('OK');
      expect(await numberOf()).toBe(before + 1);
      const list = file('list.crl', await bytes(where));
      const text = await openssl('crl', '-inform', 'DER', '-in', list, '-noout', '-text', '-CAfile', chain);
      expect(text.toLowerCase()).toContain(bad.serial);
      expect(text).toContain('Key Compromise');
    }, 60_000);

    test('OCSP tells good, revoked with its reason, and unknown, signed and with the nonce of who asks', async () => {
      const [good, bad] = [await issue(), await issue()];
      await admin.call('POST', `/certs/${bad.serial}/revoke`, { reason: 'superseded' });
      for (const nonce of ['-nonce', '-no_nonce']) {
        const told = await ask([good.file, bad.file], nonce);
        expect(told).toContain(`${good.file}: good`);
        expect(told).toContain(`${bad.file}: revoked`);
        expect(told).toContain('Reason: superseded');
      }
      expect(await ask([], '-serial', '0x4bcdef0123456789abcdef0123456789')).toContain('unknown');
    }, 60_000);

    test('OCSP is asked in the path, too, and by SHA-256', async () => {
      const leaf = await issue();
      const [request, response] = [file('request.der', ''), file('response.der', '')];
      const about = ['-sha256', '-issuer', file('issuer.pem', intermediate()), '-cert', leaf.file, '-no_nonce'];
      await openssl('ocsp', ...about, '-reqout', request);
      const asked = readFileSync(request).toString('base64');
      writeFileSync(response, await bytes(`/certs/ocsp/${encodeURIComponent(asked)}`));
      expect(await openssl('ocsp', ...about, '-respin', response, '-CAfile', root)).toContain(': good');
    });

    test('OCSP answers for the authorities themselves, by the root', async () => {
      const [request, response] = [file('request.der', ''), file('response.der', '')];
      const about = ['-issuer', root, '-cert', file('issuer.pem', intermediate()), '-no_nonce'];
      await openssl('ocsp', ...about, '-reqout', request);
      const answer = await node.stranger.raw('POST', '/certs/ocsp', readFileSync(request));
      writeFileSync(response, Buffer.from(await answer.arrayBuffer()));
      expect(await openssl('ocsp', ...about, '-respin', response, '-CAfile', root)).toContain(': good');
    });

    test('an answer of OCSP that was tampered with is found out', async () => {
      const leaf = await issue();
      const [request, response] = [file('request.der', ''), file('response.der', '')];
      const about = ['-issuer', file('issuer.pem', intermediate()), '-cert', leaf.file, '-no_nonce'];
      await openssl('ocsp', ...about, '-reqout', request);
      const answer = Buffer.from(
        await (await node.stranger.raw('POST', '/certs/ocsp', readFileSync(request))).arrayBuffer(),
      );
      const at = answer.indexOf(Buffer.from(leaf.serial, 'hex'));
      expect(at).toBeGreaterThan(0);
      answer[at + 3] = (answer[at + 3] ?? 0) ^ 1;
      writeFileSync(response, answer);
      const told = openssl('ocsp', ...about, '-respin', response, '-CAfile', root);
      await expect(told.then((text) => expect(text).toContain(': good'))).rejects.toThrow();
    });

    test('what is no request of OCSP is answered as that', async () => {
      for (const body of [NOTHING, randomBytes(100), Buffer.alloc(10_000, 0x30), Buffer.alloc(16_000, 0xa0)]) {
        const answer = await node.stranger.raw('POST', '/certs/ocsp', body);
        expect(answer.status).toBe(200);
        expect(Buffer.from(await answer.arrayBuffer()).toString('hex'), 'malformedRequest').toBe('30030a0101');
      }
      expect((await node.stranger.raw('POST', '/certs/ocsp', Buffer.alloc(20_000))).status).toBe(413);
      expect(
        (await node.stranger.raw('POST', '/certs/ocsp', '{}', { 'content-type': 'application/json' })).status,
      ).toBe(415);
      expect((await node.stranger.raw('GET', '/certs/ocsp/AAAA')).status).toBe(200);
    });

    test('a request of certification is taken with a strong key, whatever it says of itself', async () => {
      const request = async (...key: readonly string[]): Promise<string> => {
        const [out, keyFile] = [file('request.csr', ''), file('request.key', '')];
        await openssl(
          'req',
          '-new',
          '-newkey',
          ...key,
          '-nodes',
          '-keyout',
          keyFile,
          '-out',
          out,
          '-subj',
          '/CN=root/O=Bank',
        );
        return readFileSync(out, 'utf8');
      };
      const ec = (curve: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${curve}`];
      for (const key of [ec('P-256'), ec('P-384'), ['rsa:2048'], ['ed25519']]) {
        const { status, body } = await admin.call('POST', '/certs/csr', {
          thing_id: thing,
          csr: await request(...key),
        });
        expect(status, `${key.join(' ')}: ${JSON.stringify(body)}`).toBe(201);
        expect(new X509Certificate(body.certificate).subject).toBe(`CN=${thing}`);
        expect(body.private_key).toBeUndefined();
        expect(new X509Certificate(body.certificate).subjectAltName).toBe(`URI:urn:uuid:${thing}`);
      }
      const good = await request(...ec('P-256'));
      const flipped = Buffer.from(good.replaceAll(/-----.*-----|\s/g, ''), 'base64');
      flipped[flipped.length - 3] = (flipped[flipped.length - 3] ?? 0) ^ 1;
      const armour = (der: Buffer): string =>
        `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
      for (const [why, csr, told] of [
        ['a weak key', await request('rsa:1024'), 'RSA key of 1024 bits'],
        ['another curve', await request(...ec('secp256k1')), 'another curve'],
        ['a signature of somebody else', armour(flipped), 'signature'],
        ['no request', armour(randomBytes(200)), 'is no certification request'],
        ['deep nesting', armour(Buffer.alloc(9_000, 0x30)), 'is no certification request'],
        ['a key', `${good}-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n`, 'private key'],
        ['two', good + good, 'exactly one'],
        ['SHA-1', await request('rsa:2048', '-sha1'), 'algorithm'],
      ] as const) {
        const { status, body } = await admin.call('POST', '/certs/csr', { thing_id: thing, csr });
        expect([status, body.detail], why).toEqual([422, expect.stringContaining(told)]);
      }
    }, 60_000);

    test('an authority that OpenSSL made is registered by a proof, changed, and deleted', async () => {
      const maker = new CertificateMaker(directory);
      const authority = await maker.authority('Plant authority');
      const path = '/certs/authorities';
      const { body: code } = await admin.call('POST', `${path}/code`);
      const proof = await maker.issue(authority, code.code);
      const wrong = await maker.issue(authority, 'something else');
      const body = { name: 'plant', certificate: authority.cert, proof: proof.cert, jit: { name_from: 'cn' } };
      const refused = await admin.call('POST', path, { ...body, proof: wrong.cert });
      expect([refused.status, refused.body.detail]).toEqual([422, expect.stringContaining('proof')]);
      const made = await admin.call('POST', path, body);
      expect(made.status, JSON.stringify(made.body)).toBe(201);
      const { id } = made.body;
      expect([made.headers.get('location'), made.headers.get('etag')]).toEqual([`${path}/${id}`, '"1"']);
      expect(made.body.jit).toEqual({
        enabled: true,
        group_id: null,
        type: 'device',
        channel_ids: [],
        types: ['publish', 'subscribe'],
        name_from: 'cn',
      });
      expect((await admin.call('POST', path, body)).status, 'a second time').toBe(409);
      const ifMatch = { 'if-match': '"1"' };
      const changed = await admin.call('PATCH', `${path}/${id}`, { jit: null }, ifMatch);
      expect([changed.status, changed.body.jit, changed.headers.get('etag')]).toEqual([200, null, '"2"']);
      expect((await admin.call('PATCH', `${path}/${id}`, { name: 'x' }, ifMatch)).status).toBe(412);
      expect((await admin.call('PATCH', `${path}/${id}`, { jit: { channel: 1 } })).status).toBe(422);
      const { body: list } = await admin.call('GET', path);
      expect(list).toMatchObject({
        total: 1,
        authorities: [{ id, name: 'plant', fingerprint: authority.fingerprint }],
      });
      const registrations = await admin.call('GET', `${path}/${id}/registrations`);
      expect(registrations.body).toMatchObject({ total: 0, registrations: [] });
      const stranger = await node.stranger.newUser('stranger@example.org');
      for (const [method, more] of [
        ['GET', undefined],
        ['PATCH', { name: 'mine' }],
        ['DELETE', undefined],
      ] as const)
        expect((await stranger.call(method, `${path}/${id}`, more)).status, method).toBe(404);
      expect((await admin.call('DELETE', `${path}/${id}`, undefined, ifMatch)).status).toBe(412);
      expect((await admin.call('DELETE', `${path}/${id}`)).status).toBe(204);
      expect((await admin.call('GET', `${path}/${id}`)).status).toBe(404);
    }, 60_000);

    test('the fingerprint is that of OpenSSL', async () => {
      const { certificate, serial } = await issue();
      const { body } = await admin.call('GET', `/certs/${serial.toUpperCase()}`);
      expect(body.fingerprint).toBe(createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex'));
      expect(body.private_key).toBeUndefined();
    });
  },
);
