{{/* The settings of the registry: those of the values, and those that follow from what the chart mounts. */}}
{{- define "cargohold.settings" -}}
{{- $settings := dict "port" 5000 "storage" (dict "path" "/var/lib/cargohold") -}}
{{- if include "cargohold.usersSecret" . -}}
{{- $_ := set $settings "auth" (dict "htpasswd" "/etc/cargohold/users/htpasswd") -}}
{{- end -}}
{{- if include "cargohold.tlsSecret" . -}}
{{- $files := dict "certificate" "/etc/cargohold/tls/tls.crt" "key" "/etc/cargohold/tls/tls.key" -}}
{{- $_ := set $settings "tls" $files -}}
{{- end -}}
{{- $settings = mergeOverwrite $settings (deepCopy (default dict .Values.config)) -}}
{{- if not $settings.host -}}
{{- $_ := set $settings "host" "0.0.0.0" -}}
{{- end -}}
{{- include "cargohold.check" $settings -}}
{{- $auth := default dict $settings.auth -}}
{{- $bearer := default dict $auth.bearer -}}
{{- if not (or $auth.htpasswd $auth.required $auth.open_to_everyone $auth.oidc $bearer.key $bearer.jwks $bearer.jwks_url) -}}
{{- $_ := set $settings "auth" (merge (dict "required" true) $auth) -}}
{{- end -}}
{{- toPrettyJson $settings -}}
{{- end -}}

{{/* Fails for what the server would refuse only when the pod starts, and for a password that all could read in a
ConfigMap. */}}
{{- define "cargohold.check" -}}
{{- if not (regexMatch "^[A-Za-z0-9_:.%-]+$" .host) -}}
{{- fail (printf "config.host must be an address or a host name, such as 0.0.0.0 or ::, not %q" .host) -}}
{{- end -}}
{{- $prefix := default "" .prefix -}}
{{- if or (not (regexMatch "^(/[A-Za-z0-9._~-]+)*$" $prefix)) (regexMatch "/[.]{1,2}(/|$)" $prefix) -}}
{{- fail (printf "config.prefix must be a path such as /registry, without a slash at its end, or nothing, not %q" $prefix) -}}
{{- end -}}
{{- $auth := default dict .auth -}}
{{- $addresses := dict
  "tracing.endpoint" (default dict .tracing).endpoint
  "server.public_url" (default dict .server).public_url
  "auth.bearer.jwks_url" (default dict $auth.bearer).jwks_url -}}
{{- range $number, $each := $auth.oidc -}}
{{- $_ := set $addresses (printf "auth.oidc[%d].issuer" $number) $each.issuer -}}
{{- $_ := set $addresses (printf "auth.oidc[%d].jwks_url" $number) $each.jwks_url -}}
{{- end -}}
{{- range $name, $address := $addresses -}}
{{- if regexMatch "//[^/?#]*@" (default "" $address) -}}
{{- fail (printf "config.%s must be an address without a name and a password" $name) -}}
{{- end -}}
{{- if and $address (not (regexMatch "(?i)^https?://[^/]" $address)) -}}
{{- fail (printf "config.%s must be an address that begins with https:// or http://, not %q" $name $address) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The seconds of a duration as settings have it: a number, its text, or such as 1h30m. */}}
{{- define "cargohold.seconds" -}}
{{- if not (kindIs "string" .) -}}
{{- float64 . -}}
{{- else if regexMatch "^[0-9.]+$" . -}}
{{- float64 . -}}
{{- else -}}
{{- $units := dict "d" 86400 "h" 3600 "m" 60 "s" 1 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9.]+[dhms]" . -1 -}}
{{- $unit := substr (int (sub (len .) 1)) (len .) . -}}
{{- $sum = addf $sum (mulf (float64 (trimSuffix $unit .)) (get $units $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
{{- end -}}

{{/* How long the cluster waits for a pod to end: longer than the server takes at the most. */}}
{{- define "cargohold.gracePeriod" -}}
{{- $server := default dict (include "cargohold.settings" . | fromJson).server -}}
{{- $drain := include "cargohold.seconds" (default 0 $server.drain) -}}
{{- $stop := include "cargohold.seconds" (default 30 $server.stop_timeout) -}}
{{- $needed := ceil (addf $drain $stop) | int -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $needed 10 -}}
{{- else if le (int $given) (int (add $needed 5)) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d: config.server.drain and config.server.stop_timeout take %d seconds together; make it %d, or null to have it follow them" (int $given) $needed (add $needed 10)) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end -}}

{{- define "cargohold.scheme" -}}
{{- $settings := include "cargohold.settings" . | fromJson -}}
{{- ternary "https" "http" (hasKey (default dict $settings.tls) "certificate") -}}
{{- end -}}

{{/* Something that the cluster asks the registry. It has no certificate of its own to show: where one is required, it
looks whether the port is open. */}}
{{- define "cargohold.probe" -}}
{{- $settings := include "cargohold.settings" .root | fromJson -}}
{{- $tls := default dict $settings.tls -}}
{{- if and $tls.client_ca (ne (default "require" $tls.client_certificates) "request") -}}
tcpSocket:
  port: registry
{{- else -}}
httpGet:
  path: {{ printf "%s%s" (default "" $settings.prefix) .path }}
  port: registry
  scheme: {{ include "cargohold.scheme" .root | upper }}
{{- end -}}
{{- end -}}

{{/* Whether the settings name something that the registry connects to. */}}
{{- define "cargohold.connects" -}}
{{- $settings := include "cargohold.settings" . | fromJson -}}
{{- $auth := default dict $settings.auth -}}
{{- $tracing := default dict $settings.tracing -}}
{{- if or $auth.oidc (default dict $auth.bearer).jwks_url $tracing.endpoint -}}yes{{- end -}}
{{- end -}}

{{/* Whether two pods may be there at once, on one node. */}}
{{- define "cargohold.together" -}}
{{- if or .Values.rolling (gt (int .Values.replicas) 1) -}}
{{- if and .Values.persistence.enabled (eq .Values.persistence.accessMode "ReadWriteOncePod") -}}
{{- fail "several pods at once (replicas, rolling) cannot share a volume with persistence.accessMode ReadWriteOncePod: make it ReadWriteOnce" -}}
{{- end -}}
{{- if not .Values.persistence.enabled -}}
{{- fail "several pods at once (replicas, rolling) need a volume that they share: set persistence.enabled" -}}
{{- end -}}
yes
{{- end -}}
{{- end -}}
