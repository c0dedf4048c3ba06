/** What the documentation's examples speak of. A test makes an organisation with all of it, then runs each example. */
export const example = {
  org: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0001',
  user: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0002',
  /** A second member. */
  member: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0003',
  thing: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0010',
  /** Not connected with anything. */
  otherThing: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0011',
  /** A device of LwM2M: it has an account, and is not there. */
  lwm2mThing: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0012',
  thingKey: 'example-thing-key-0123456789',
  channel: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0020',
  otherChannel: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0021',
  group: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0030',
  otherGroup: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0031',
  role: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0040',
  policy: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0050',
  apiKey: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0060',
  application: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0070',
  /** An application of people's. */
  webApplication: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0071',
  // What the platform makes by itself has other values in each installation.
  applicationSecret: 'b8Qm0o3S6o4Yt2X5wqPq2Jx1ZK7rJ4pC9m3vVh0Lk1E',
  invitation: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0080',
  /** The authority of the organisation that the platform keeps, and one that it brought. */
  issuer: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0090',
  authority: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0091',
  authorityCertificate:
    '-----BEGIN CERTIFICATE-----\nMIIBdjCCARygAwIBAgIBATAKBggqhkjOPQQDAjASMRAw…\n-----END CERTIFICATE-----',
  authorityProof:
    '-----BEGIN CERTIFICATE-----\nMIIBQTCB6KADAgECAgECMAoGCCqGSM49BAMCMBIxEDAO…\n-----END CERTIFICATE-----',
  serial: '0a4f6b1c2d3e4f5061728394a5b6c7d8',
  job: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00a0',
  /** There is none: a file comes first. */
  import: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0150',
  networkServer: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00e0',
  otherNetworkServer: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00e1',
  codec: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00d0',
  otherCodec: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00d1',
  webhook: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0160',
  otherWebhook: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0161',
  command: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00c0',
  message: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d00b0',
  refreshToken: '3yTq1mF0d8Vb5nZxkR7sWcJ2aLhE9uPg6oYtM4iDQwX',
  resetToken: 'h2Vw8nQ0tYxKb6cRsJ4mZ1pLdFgE7uAi5oT9yXkW3Bc',
  verifyToken: 'Zk5rT0bXq8nVw2mYs6cJ1hPdLgF7uEa4oI9tRyKx3Cd',
  invitationToken: 'm1Xs7cKq0wRb4nVt8yJ2zHpLdFgE6uAi5oT9YkWx3Bd',
  email: 'ada@example.org',
  memberEmail: 'charles@example.org',
  /** Who is invited, and has an account. */
  invitedEmail: 'mary@example.org',
  password: 'correct horse battery staple',
} as const;
