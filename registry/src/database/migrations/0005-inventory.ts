export const name = 'inventory';
export const sql = `
`;
