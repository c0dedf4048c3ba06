import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const loraConfig = {
  MILLRACE_NETWORK_SERVERS_PER_ORG_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000)
    .default(20)
    .describe('LoRaWAN network servers that an organisation may have.'),
  MILLRACE_CODECS_PER_ORG_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(200)
    .describe('Payload codecs that an organisation may have.'),
};
