import { onOff } from '@millrace/core';
import { z } from 'zod';
import { accessConfig } from './access/config.ts';
import { applicationsConfig } from './applications/config.ts';
import { auditConfig } from './audit/config.ts';
import { certificatesConfig } from './certificates/config.ts';
import { commandsConfig } from './commands/config.ts';
import { exportsConfig } from './exports/config.ts';
import { importsConfig } from './imports/config.ts';
import { inventoryConfig } from './inventory/config.ts';
import { jobsConfig } from './jobs/config.ts';
import { liveConfig } from './live/config.ts';
import { loraConfig } from './lora/config.ts';
import { peopleConfig } from './people/config.ts';
import { retentionConfig } from './retention/config.ts';
import { sqlConfig } from './sql/config.ts';
import { webhooksConfig } from './webhooks/config.ts';

export const RegistryConfig = z.object({
  MILLRACE_POSTGRES_URL: z
    .string()
    .regex(/^(postgres|postgresql|socket):/, 'must start with postgres:// or socket:')
    .optional()
    .describe('PostgreSQL that keeps the registry and the jobs. Unset: an embedded one in the data directory.'),
  MILLRACE_POSTGRES_CONNECTIONS_MAX: z.coerce
    .number()
    .int()
    .min(2)
    .max(200)
    .default(8)
    .describe('Connections to PostgreSQL that this node opens at most.'),
  MILLRACE_POSTGRES_BUFFERS_MIB: z.coerce
    .number()
    .int()
    .min(1)
    .max(16_384)
    .default(32)
    .describe('Shared buffers of the embedded PostgreSQL.'),
  MILLRACE_ADMIN_EMAIL: z.email().default('admin@millrace.local').describe('E-mail of the first administrator.'),
  MILLRACE_ADMIN_PASSWORD: z
    .string()
    .min(8)
    .max(256)
    .optional()
    .describe('Password of the first administrator. Unset: generated on the first run.'),
  MILLRACE_SELF_REGISTER: onOff
    .optional()
    .describe('Whether strangers may register by POST /users. Unset: on while bound to loopback, off otherwise.'),
  MILLRACE_MQTT_SESSIONS_PER_OWNER_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(100)
    .describe('Sessions that are kept for one thing or user; a CONNECT with a further client id is refused.'),
  MILLRACE_RETAINED_MESSAGES_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000_000)
    .default(100_000)
    .describe('Topics of one organisation whose retained message is kept; further ones are delivered, but not kept.'),
  ...peopleConfig,
  ...sqlConfig,
  ...inventoryConfig,
  ...accessConfig,
  ...applicationsConfig,
  ...certificatesConfig,
  ...auditConfig,
  ...jobsConfig,
  ...exportsConfig,
  ...importsConfig,
  ...liveConfig,
  ...loraConfig,
  ...commandsConfig,
  ...retentionConfig,
  ...webhooksConfig,
});
export type RegistryConfig = z.infer<typeof RegistryConfig>;
