#!/usr/bin/env bash
# A single-node Apache Kafka (KRaft) below one folder, for tests.
#
#   kafka.sh init DIR [secure] [key=value ...]   ports, certificates, format
#   kafka.sh start|stop|kill9|restart DIR        data and ports are kept
#   kafka.sh tool DIR CLASS ARGS...              one of the broker's own tools
#
# DIR/env holds the addresses as shell assignments: KAFKA (plaintext) and, for
# a secure one, KAFKA_TLS, KAFKA_MTLS, KAFKA_SASL with the client's files.
# Users of the SASL listener: alice/alice-secret by PLAIN, SCRAM-SHA-256 and
# SCRAM-SHA-512. Runs as whoever calls it (see as_user in lib.sh).

[ -n "${CDC_ROOT:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# 3.9: Debian 12's librdkafka cannot log in by SCRAM to 4.x.
KAFKA_VERSION=3.9.1
KAFKA_HOME=$CDC_CACHE/kafka-$KAFKA_VERSION
KAFKA_JVM="-Xms64m -Xmx192m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"

# Jars by artifact name, once per machine.
kafka_fetch()
{
	[ ! -e "$KAFKA_HOME/complete" ] || return 0
	say "fetching Kafka $KAFKA_VERSION"
	mkdir -p "$KAFKA_HOME"
	(
		flock 8
		[ ! -e "$KAFKA_HOME/complete" ] || exit 0
		cat >"$KAFKA_HOME/pom.xml" <<-XML
			<project xmlns="http://maven.apache.org/POM/4.0.0">
			  <modelVersion>4.0.0</modelVersion>
			  <groupId>cdc_sink</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
			  <dependencies>
			    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
			    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
			  </dependencies>
			</project>
		XML
		mvn -q -B -f "$KAFKA_HOME/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
			-DoutputDirectory="$KAFKA_HOME/lib" </dev/null >"$KAFKA_HOME/mvn.log" 2>&1 \
			|| { tail -n 30 "$KAFKA_HOME/mvn.log" >&2; exit 1; }
		touch "$KAFKA_HOME/complete"
	) 8>"$CDC_CACHE/lock"
}

# kafka_certs DIR: a CA, a server certificate for 127.0.0.1/localhost, a client's
kafka_certs()
{
	local d=$1 who
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=cdc_sink test CA" \
		-keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
	for who in server client; do
		openssl req -newkey rsa:2048 -nodes -subj "/CN=$who" -keyout "$d/$who.key" -out "$d/$who.csr" 2>/dev/null
		openssl x509 -req -in "$d/$who.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 30 \
			-extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") -out "$d/$who.pem" 2>/dev/null
	done
	cat "$d/server.key" "$d/server.pem" >"$d/server.keystore.pem"
	chmod 644 "$d"/*.key "$d"/*.pem
}

kafka_java()
{
	local dir=$1
	shift
	# shellcheck disable=SC2086
	java $KAFKA_JVM "-Dlog4j.configuration=file:$dir/log4j.properties" -cp "$KAFKA_HOME/lib/*" "$@"
}

# kafka_init DIR [secure] [key=value ...]
kafka_init()
{
	local dir=$1 secure= plain ctl tls mtls sasl scram
	shift
	if [ "${1:-}" = secure ]; then secure=1; shift; fi
	mkdir -p "$dir"
	plain=$(free_port)
	ctl=$(free_port)
	local listeners="PLAINTEXT://127.0.0.1:$plain,CONTROLLER://127.0.0.1:$ctl" advertised="PLAINTEXT://127.0.0.1:$plain"
	echo "KAFKA=127.0.0.1:$plain" >"$dir/env"
	cat >"$dir/log4j.properties" <<-CONF
		log4j.rootLogger=WARN, stdout
		log4j.appender.stdout=org.apache.log4j.ConsoleAppender
		log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
		log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
	CONF
	if [ -n "$secure" ]; then
		kafka_certs "$dir"
		tls=$(free_port) mtls=$(free_port) sasl=$(free_port)
		listeners+=",TLS://127.0.0.1:$tls,MTLS://127.0.0.1:$mtls,SASL://127.0.0.1:$sasl"
		advertised+=",TLS://127.0.0.1:$tls,MTLS://127.0.0.1:$mtls,SASL://127.0.0.1:$sasl"
		cat >>"$dir/env" <<-ENV
			KAFKA_TLS=127.0.0.1:$tls
			KAFKA_MTLS=127.0.0.1:$mtls
			KAFKA_SASL=127.0.0.1:$sasl
			KAFKA_CA=$dir/ca.pem
			KAFKA_CLIENT_CERT=$dir/client.pem
			KAFKA_CLIENT_KEY=$dir/client.key
			KAFKA_USER=alice
			KAFKA_PASSWORD=alice-secret
		ENV
	fi
	cat >"$dir/server.properties" <<-CONF
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$ctl
		controller.listener.names=CONTROLLER
		inter.broker.listener.name=PLAINTEXT
		listeners=$listeners
		advertised.listeners=$advertised
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MTLS:SSL,SASL:SASL_SSL
		log.dirs=$dir/log
		auto.create.topics.enable=true
		num.partitions=3
		offsets.topic.num.partitions=1
		offsets.topic.replication.factor=1
		transaction.state.log.num.partitions=1
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		group.initial.rebalance.delay.ms=0
		log.cleaner.dedupe.buffer.size=2097152
		num.network.threads=2
		num.io.threads=2
		controlled.shutdown.enable=false
	CONF
	if [ -n "$secure" ]; then
		scram="org.apache.kafka.common.security.scram.ScramLoginModule required;"
		cat >>"$dir/server.properties" <<-CONF
			ssl.keystore.type=PEM
			ssl.keystore.location=$dir/server.keystore.pem
			ssl.truststore.type=PEM
			ssl.truststore.location=$dir/ca.pem
			ssl.client.auth=none
			listener.name.mtls.ssl.client.auth=required
			sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
			listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";
			listener.name.sasl.scram-sha-256.sasl.jaas.config=$scram
			listener.name.sasl.scram-sha-512.sasl.jaas.config=$scram
		CONF
	fi
	[ $# = 0 ] || printf '%s\n' "$@" >>"$dir/server.properties"
	local users=()
	[ -z "$secure" ] || users=(--add-scram "SCRAM-SHA-256=[name=alice,password=alice-secret]"
		--add-scram "SCRAM-SHA-512=[name=alice,password=alice-secret]")
	# an identifier must not begin with a dash
	kafka_java "$dir" kafka.tools.StorageTool format -t "$(openssl rand 16 | base64 | tr '+/' 'AB' | tr -d =)" \
		-c "$dir/server.properties" "${users[@]}" </dev/null >"$dir/format.log" 2>&1 \
		|| { cat "$dir/format.log" >&2; return 1; }
}

kafka_pid() { cat "$1/pid" 2>/dev/null || true; }

# kafka_start DIR: returns when it answers
kafka_start()
{
	local dir=$1 addr i
	! pid_alive "$(kafka_pid "$dir")" || return 0
	addr=$(sed -n 's/^KAFKA=//p' "$dir/env")
	(
		cd "$dir"
		# shellcheck disable=SC2016
		setsid bash -c 'echo $$ >"$0/pid"; exec java '"$KAFKA_JVM"' "-Dlog4j.configuration=file:$0/log4j.properties" \
			-cp "$1/lib/*" kafka.Kafka "$0/server.properties"' "$dir" "$KAFKA_HOME" </dev/null >>"$dir/kafka.log" 2>&1 &
	)
	for ((i = 0; i < 300; i++)); do
		sleep 0.2
		if kcat -b "$addr" -L -m 2 >/dev/null 2>&1; then return 0; fi
		if [ "$i" -gt 5 ] && ! pid_alive "$(kafka_pid "$dir")"; then break; fi
	done
	tail -n 30 "$dir/kafka.log" >&2
	return 1
}

kafka_kill9()
{
	local pid
	pid=$(kafka_pid "$1")
	if pid_alive "$pid"; then
		kill -9 "$pid"
		wait_gone "$pid" 10
	fi
	rm -f "$1/pid"
}

kafka_stop()
{
	local pid
	pid=$(kafka_pid "$1")
	if pid_alive "$pid"; then
		kill "$pid"
		wait_gone "$pid" 20 || kafka_kill9 "$1"
	fi
	rm -f "$1/pid"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	cmd=${1:?command}
	shift
	case $cmd in
		init) kafka_init "$@" ;;
		start) kafka_start "$1" ;;
		stop) kafka_stop "$1" ;;
		kill9) kafka_kill9 "$1" ;;
		restart) kafka_stop "$1"; kafka_start "$1" ;;
		tool) kafka_java "$@" ;;
		*) die "unknown command $cmd" ;;
	esac
fi
