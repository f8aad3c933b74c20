package server

// head describes a stream (§5.5).
func (h *Handler) head(a *answer, name string) error {
	info, err := h.store.Head(a.r.Context(), name)
	if err != nil {
		return err
	}
	a.described(info)
	return nil
}
