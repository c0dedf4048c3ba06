import { writeFileSync } from 'node:fs';
import { durationSeconds } from './duration.ts';
import { entityTopic, idOf, PAGING, queryOf, show } from './entity.ts';
import { type Field, NAMING } from './fields.ts';
import { readInput, writeSecret } from './input.ts';
import { type Call, flag, type OptionSpecification, type Topic, text, word } from './specification.ts';
import { column, type Row, time } from './table.ts';

const SERIAL = '0f3b5c7d9e1a2b4c6d8e0f1a2b3c4d5e';
const serial = { name: '<serial>', description: 'serial number of the certificate' };
const CERT_FILTERS: readonly OptionSpecification[] = [
  { flags: '--thing <thing>', description: 'only those of the thing, by id or name' },
  { flags: '--status <status>', description: 'only these', choices: ['active', 'revoked', 'expired', 'all'] },
];
const CERT_COLUMNS = [
  column('SERIAL', 'serial'),
  column('THING', 'thing_id'),
  column('STATUS', 'status'),
  column('KEY', 'key_type'),
  time('EXPIRES', 'expires_at'),
  column('REASON', 'reason', { wide: true }),
  column('FINGERPRINT', 'fingerprint', { wide: true }),
];
const TTL: OptionSpecification = { flags: '--ttl <duration>', description: 'good for so long: 12h, 90d' };
const OUT: OptionSpecification = {
  flags: '-o, --out <prefix>',
  description: 'into files: <prefix>.crt, <prefix>.key (only you can read it), <prefix>.chain.crt',
};
const KEY_TYPE: OptionSpecification = {
  flags: '--key-type <type>',
  description: 'of the key that is made',
  choices: ['ec', 'ed25519', 'rsa'],
};
const REASONS = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
];

export const certs: Topic = {
  name: 'certs',
  summary: 'certificates that things connect by',
  commands: [
    {
      name: 'list',
      summary: 'list certificates',
      options: [...CERT_FILTERS, ...PAGING],
      examples: ['millrace certs list --thing thermometer', 'millrace certs list --status active --all --json'],
      async run(call) {
        const client = await call.client();
        const { thing, ...query } = queryOf(call, [...CERT_FILTERS, ...PAGING]);
        const of = thing === undefined ? {} : { thing_id: await idOf(client.things as never, 'thing', String(thing)) };
        await show(call, client.certs as never, 'certs', CERT_COLUMNS, { ...query, ...of });
      },
    },
    {
      name: 'get',
      summary: 'show a certificate',
      arguments: [serial],
      examples: [`millrace certs get ${SERIAL}`],
      run: async (call) => call.output.one(await (await call.client()).certs.get(word(call, 0))),
    },
    {
      name: 'issue',
      summary: 'issue a certificate to a thing; its private key is told this once',
      arguments: [{ name: '<thing>', description: 'id of the thing, or its name' }],
      options: [
        TTL,
        KEY_TYPE,
        { flags: '--csr <path>', description: 'a signing request (PEM), for a key that never leaves its owner' },
        OUT,
      ],
      examples: [
        'millrace certs issue thermometer --ttl 90d --out thermometer',
        'millrace certs issue thermometer --csr device.csr --out device',
      ],
      run: issue,
    },
    {
      name: 'renew',
      summary: 'issue the next one in place of a certificate',
      arguments: [serial],
      options: [
        TTL,
        KEY_TYPE,
        { flags: '--csr <path>', description: 'a signing request (PEM)' },
        { flags: '--overlap <duration>', description: 'for so long the old one holds too: 1h, 7d' },
        OUT,
      ],
      examples: [`millrace certs renew ${SERIAL} --overlap 7d --out thermometer`],
      async run(call) {
        const overlap = text(call, 'overlap');
        const body = {
          ...wanted(call),
          ...(overlap === undefined ? {} : { overlap_seconds: durationSeconds(overlap) }),
        };
        made(call, (await (await call.client()).certs.renew(word(call, 0), body as never)) as never);
      },
    },
    {
      name: 'revoke',
      summary: 'void a certificate at once, open sessions included',
      arguments: [serial],
      options: [{ flags: '--reason <reason>', description: 'why', choices: REASONS }],
      examples: [`millrace certs revoke ${SERIAL} --reason keyCompromise`],
      async run(call) {
        await (await call.client()).certs.revoke(word(call, 0), text(call, 'reason'));
        call.output.note(`revoked ${word(call, 0)}`);
      },
    },
    {
      name: 'ca',
      summary: "the authority's certificates, PEM",
      examples: ['millrace certs ca > ca.crt'],
      run: async (call) => call.output.write(await (await call.client()).certs.authority({ org: await call.org() })),
    },
  ],
};

function wanted(call: Call): Record<string, unknown> {
  const ttl = text(call, 'ttl');
  const csr = text(call, 'csr');
  const keyType = text(call, 'keyType');
  return {
    ...(ttl === undefined ? {} : { ttl: durationSeconds(ttl) }),
    ...(csr === undefined ? {} : { csr: readInput(csr) }),
    ...(keyType === undefined || csr !== undefined ? {} : { key_type: keyType }),
  };
}

async function issue(call: Call): Promise<void> {
  const client = await call.client();
  const body = { thing_id: await idOf(client.things as never, 'thing', word(call, 0)), ...wanted(call) };
  made(
    call,
    (await ('csr' in body ? client.certs.issueFromCsr(body as never) : client.certs.issue(body as never))) as never,
  );
}

function made(call: Call, certificate: Row): void {
  const prefix = text(call, 'out');
  if (prefix === undefined && call.output.json) {
    call.output.one(certificate);
    return;
  }
  // The same again in the words of the classic dialect.
  const { client_cert, client_key, issuing_ca, private_key_type, cert_serial, expiration, ...plain } = certificate;
  if (prefix === undefined) {
    call.output.one(plain);
    return;
  }
  const { certificate: leaf, chain, private_key: key, ...told } = plain;
  writeFileSync(`${prefix}.crt`, `${leaf}`);
  writeFileSync(`${prefix}.chain.crt`, `${chain ?? ''}`);
  if (key !== undefined) writeSecret(`${prefix}.key`, String(key));
  call.output.one(told);
}

export const apps = entityTopic({
  name: 'apps',
  one: 'app',
  summary: 'applications: OAuth 2.0 clients',
  collection: (client) => client.apps as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('KIND', 'kind'),
    column('ENABLED', 'enabled'),
    column('SCOPES', 'scopes'),
    time('CREATED', 'created_at', { wide: true }),
    column('REDIRECT URIS', 'redirect_uris', { wide: true }),
  ],
  fields: [
    ...(NAMING as readonly Field[]),
    {
      flags: '--kind <kind>',
      description: 'what it is',
      member: 'kind',
      choices: ['machine', 'web', 'browser', 'native'],
      onlyNew: true,
    },
    { flags: '--description <text>', description: 'what it is for', member: 'description' },
    { flags: '--redirect-uris <uris>', description: 'comma-separated', member: 'redirect_uris', kind: 'list' },
    {
      flags: '--scopes <scopes>',
      description: 'comma-separated, as things:read,messages:publish',
      member: 'scopes',
      kind: 'list',
    },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: {
    id: '0197c2d0-6a3e-7000-8000-000000000070',
    create: '--name importer --kind machine --scopes things:read,messages:publish',
    update: '--scopes things:read',
  },
  more: [
    {
      name: 'rotate-secret',
      summary: 'give an application a new secret; it is shown this once',
      arguments: [{ name: '<app>', description: 'id of the application, or its name' }],
      options: [{ flags: '--overlap <duration>', description: 'for so long the old one is taken too: 15m, 1d' }],
      examples: ['millrace apps rotate-secret importer --overlap 1d'],
      async run(call) {
        const { apps: collection } = await call.client();
        const overlap = text(call, 'overlap');
        const id = await idOf(collection as never, 'application', word(call, 0));
        const body = overlap === undefined ? {} : { overlap_seconds: durationSeconds(overlap) };
        call.output.one(await collection.rotateSecret(id, body as never));
      },
    },
  ],
});

const job = { name: '<job>', description: 'id of the job' };
const JOB = '0197c2d0-6a3e-7000-8000-000000000080';

export const jobs: Topic = {
  name: 'jobs',
  summary: 'long work, and how far it is',
  commands: [
    {
      name: 'list',
      summary: 'list jobs',
      options: PAGING,
      examples: ['millrace jobs list'],
      run: async (call) => show(call, (await call.client()).jobs as never, 'jobs', JOB_COLUMNS, queryOf(call, PAGING)),
    },
    {
      name: 'get',
      summary: 'show a job',
      arguments: [job],
      options: [{ flags: '--wait', description: 'until it has ended, with its progress on standard error' }],
      examples: [`millrace jobs get ${JOB} --wait`],
      async run(call) {
        const { jobs: collection } = await call.client();
        if (!flag(call, 'wait')) {
          call.output.one(await collection.get(word(call, 0)));
          return;
        }
        const onProgress = ({ done = 0, total = 0 }: { done?: number; total?: number }): void =>
          call.output.progress('done', done, total);
        call.output.one(await collection.wait(word(call, 0), { onProgress, signal: call.signal }));
      },
    },
    {
      name: 'results',
      summary: 'what a job made, and what it could not',
      arguments: [job],
      options: [{ flags: '--errors', description: 'only what could not be made' }],
      examples: [`millrace jobs results ${JOB} --json`],
      async run(call) {
        const columns = [
          column('LINE', 'line', { align: 'right' }),
          column('ID', 'id'),
          column('KEY', 'key'),
          column('ERROR', 'error'),
        ];
        await call.output.all(
          columns,
          (await call.client()).jobs.results(word(call, 0), flag(call, 'errors') ? { errors: true } : {}),
        );
      },
    },
    {
      name: 'cancel',
      summary: 'stop a job; what it has done stays',
      arguments: [job],
      examples: [`millrace jobs cancel ${JOB}`],
      async run(call) {
        await (await call.client()).jobs.cancel(word(call, 0));
        call.output.note(`cancelled ${word(call, 0)}`);
      },
    },
  ],
};

const JOB_COLUMNS = [
  column('ID', 'id'),
  column('KIND', 'kind'),
  column('STATUS', 'status'),
  column('DONE', 'done', { align: 'right' as const }),
  column('FAILED', 'failed', { align: 'right' as const }),
  column('TOTAL', 'total', { align: 'right' as const }),
  time('CREATED', 'created_at'),
];
