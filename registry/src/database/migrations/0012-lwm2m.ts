/** LwM2M accounts and registrations. */
export const name = 'lwm2m';
export const sql = `
`;
