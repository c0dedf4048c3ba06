/** Settings of this topic: parts of RegistryConfig. */
export const jobsConfig = {};
